// SPDX-License-Identifier: Apache-2.0
// A node of copyrpc: calls to other nodes and answers to theirs, in batches over a Fabric. It knows
// nothing of what the bytes mean.
//
//   once per turn   poll(); take_answers(); take_calls() and reply(); call() ...; flush();
//   now and then    tick(now): heartbeats, time-outs, connections
//
// Each pair of nodes has a ring each way (docs/protocol.md). call and reply append to the local
// mirror of the peer's ring; flush writes the new bytes with one write with immediate.
//
// THREADS     One thread. Nothing blocks. Nothing allocates after create and set_peer, except what
//   the fabric does when a peer connects or fails.
// CREDIT      (why no call can wait for ever; docs/adr/0009)
//   C1  A call reserves ring room for its largest answer before it is staged: a reply never fails.
//   C2  A batch is released when each of its messages is done with: calls answered or taken over,
//       answers taken. Answering needs no credit (C1), so every batch is released in time.
//   C3  Releases travel in every batch header, and when there is none, as an 8-byte write to the
//       credit cell, which needs no credit itself. The unreported part is always small enough to
//       leave room for the largest call.
//   C4  At most `batches_max` batches of a peer stand in a ring, and the sum over all peers is at
//       most what the fabric can receive: a receiver is never caught without a receive entry.
// ORDER       Messages to one peer are served in the order in which they were staged.
// TRUST       Whatever a peer wrote is copied, checked, and only the copy used. A violation fails
//   that peer (violations counts), and nothing else.
// FILES       node.cpp (memory, poll, tick), session.cpp (connecting, failing), messages.hpp
//   (what each message passes), outbound.cpp and inbound.cpp (batches).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/random.hpp"
#include "copyrpc/call_table.hpp"
#include "copyrpc/fabric/fabric.hpp"
#include "copyrpc/flush_policy.hpp"
#include "copyrpc/peer.hpp"
#include "copyrpc/wire.hpp"

namespace copyrpc {

/// The number of peers is not known yet: take_rings tells it, before the first set_peer.
inline constexpr uint32_t kPeersLater = ~uint32_t{0};

struct NodeOptions {
  PeerId node = 0;           ///< own number
  uint32_t nodes = 1;        ///< of the job
  uint32_t peers_max = 0;    ///< nodes that it will talk with; 0: all others; or kPeersLater
  uint64_t incarnation = 1;  ///< grows with each start of this node
  uint64_t receive_budget_bytes = 64U << 20;  ///< for all rings; as much again for the mirrors
  uint32_t ring_bytes = 0;                    ///< per peer, a power of two; 0: from the budget
  uint32_t message_bytes_max = 8192;          ///< largest payload
  uint32_t batches_max = 32;  ///< of one peer, not released; fewer where entries are scarce
  uint32_t calls_max = 16384;
  uint32_t transfers_max = 256;
  FlushPolicy flush{};
  uint64_t beat_ns = 200'000'000;
  uint64_t peer_timeout_ns = 800'000'000;
  uint64_t call_timeout_ns = 10'000'000'000;
  uint64_t retry_ns = 100'000'000;  ///< after a session has failed
  uint64_t seed = 0;
};

/// What became of a call.
enum class CallEnd : uint8_t {
  answered,
  lost,       ///< the peer failed after it was sent: it may have been served or not
  unsent,     ///< the peer failed before: it was not served
  timed_out,  ///< as `lost`, but the peer lives
};

struct Answer {
  CallTag tag{};
  CallEnd end = CallEnd::answered;
  PeerId peer = kNoPeer;
  const std::byte* payload = nullptr;  ///< 16-byte aligned; valid until flush
  uint32_t payload_bytes = 0;
  uint64_t rtt_ns = 0;  ///< call to answer, of one call in 16; else 0
};

struct alignas(64) InboundCall {
  PeerId peer = kNoPeer;
  uint32_t answer_bytes_max = 0;  ///< room that the caller has reserved
  uint64_t session = 0;
  uint64_t id = 0;
  const std::byte* payload = nullptr;  ///< 16-byte aligned; valid until flush
  uint32_t payload_bytes = 0;
  ServeCursor cursor{};  ///< for put_back
};

/// A one-sided transfer that has ended.
struct TransferEnd {
  uint32_t index = 0;
  bool ok = false;
};

struct NodeCounters {
  uint64_t calls;
  uint64_t answers;  ///< to own calls
  uint64_t calls_served;
  uint64_t messages_sent;
  uint64_t batches_sent;
  uint64_t batches_received;
  uint64_t bytes_sent;
  uint64_t ring_full;      ///< calls put off for want of credit
  uint64_t send_full;      ///< posts put off because the send queue was full
  uint64_t credit_writes;  ///< releases told outside the ring
  uint64_t late_answers;
  uint64_t late_replies;  ///< to calls of a session that is over
  uint64_t stray;         ///< immediates that belong to no session
  uint64_t violations;
  uint64_t peers_failed;
  uint64_t calls_lost;  ///< ended without an answer
};

class Node {
 public:
  /// Takes memory and registers it. The error line names the remedy. Fabric and clock must outlive
  /// the node.
  [[nodiscard]] static copykv::Outcome<std::unique_ptr<Node>> create(const NodeOptions& options,
                                                                     Fabric& fabric,
                                                                     const copykv::Clock& clock);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// For the bootstrap.
  [[nodiscard]] Card card() const;
  /// Once, where create was told kPeersLater.
  [[nodiscard]] copykv::Outcome<void> take_rings(uint32_t peers_max);
  /// A peer to talk with, or its next incarnation: an older session ends.
  void set_peer(const Card& card);
  /// Tells everyone that no new calls are wanted; goes on serving.
  void leave() noexcept;

  enum class Sent : uint8_t {
    accepted,     ///< take_answers will tell its end, exactly once
    full,         ///< no room now; in a later turn
    unreachable,  ///< no session with that peer
    too_large,    ///< larger than message_bytes_max of either side
  };
  /// Who can be called now: nullptr, or good until a call is not accepted, or the next poll.
  [[nodiscard]] Peer* callee(PeerId to) noexcept {
    return to < options_.nodes && peers_[to].state == Peer::State::up ? &peers_[to] : nullptr;
  }
  /// `write(std::byte*, CallTag&)` puts the payload where it leaves from (16-byte aligned, writable
  /// to the next multiple of 16), and what is wanted back with the answer into the tag. It is
  /// called before `call` returns, once if the call is accepted, else not at all.
  template <class Write>
  [[nodiscard]] Sent call(Peer& peer, uint32_t payload_bytes, uint32_t answer_bytes_max,
                          Write&& write) noexcept;
  /// The same with a payload that stands somewhere.
  [[nodiscard]] Sent call(PeerId peer, std::span<const std::byte> payload,
                          uint32_t answer_bytes_max, const CallTag& tag) noexcept;

  /// For who watches messages leave: `open_batch` takes the next one, `batches_posted` have left.
  [[nodiscard]] const Peer& peer(PeerId id) const noexcept { return peers_[id]; }

  /// Takes what the fabric has. Returns the number of events.
  uint32_t poll() noexcept;
  /// Ends of own calls, each told to `take(const Answer&)`, which returns whether what the peer
  /// sent makes sense; if it does not, the peer fails, as for a violation. Returns how many.
  template <class Take>
  uint32_t take_answers(uint32_t answers_max, Take&& take) noexcept;
  [[nodiscard]] uint32_t take_answers(std::span<Answer> answers) noexcept;
  /// Calls of peers, in order per peer, taking turns between them; `take(const InboundCall&)` as
  /// above, one that makes no sense does not count. Before the next flush each must be answered
  /// (reply), taken over (nothing: copy what is needed, reply later), or put back.
  template <class Take>
  [[nodiscard]] uint32_t take_calls(uint32_t calls_max, Take&& take) noexcept;
  [[nodiscard]] uint32_t take_calls(std::span<InboundCall> calls) noexcept;
  /// Gives back the last calls of the last take_calls: they will come again, in order.
  void put_back(std::span<const InboundCall> calls) noexcept;
  /// `write(std::byte*)` as for a call; at most call.answer_bytes_max. Never fails; to a peer that
  /// has failed it does nothing.
  template <class Write>
  void reply(const InboundCall& call, uint32_t payload_bytes, Write&& write) noexcept;
  void reply(const InboundCall& call, std::span<const std::byte> payload) noexcept;
  /// Whether the peer that made this call can still be answered.
  [[nodiscard]] bool is_live(const InboundCall& call) const noexcept {
    const Peer& peer = peers_[call.peer];
    return peer.usable() && peer.session == call.session;
  }
  /// Lets messages go, as the policy says, and gives back what was taken.
  void flush() noexcept;

  /// For who must know that a peer has stopped touching memory: ends the session.
  void drop(PeerId peer, const char* why) noexcept { fail(peers_[peer], why); }

  /// One-sided: between local memory and memory of the peer. At most transfers_max at
  /// one time; take_transfers tells the end of each with its `index`.
  [[nodiscard]] Fabric::Posted read(PeerId peer, const LocalPart& to, const RemoteMemory& from,
                                    uint32_t index) noexcept;
  [[nodiscard]] Fabric::Posted write(PeerId peer, const LocalPart& from, const RemoteMemory& to,
                                     uint32_t index) noexcept;
  [[nodiscard]] uint32_t take_transfers(std::span<TransferEnd> ends) noexcept;

  /// The time: heartbeats, time-outs, connections. At least every beat_ns / 4.
  void tick(uint64_t now_ns) noexcept;

  /// Whether polling must go on: anything staged, in flight, or to be served.
  [[nodiscard]] bool busy() const noexcept;
  [[nodiscard]] bool is_up(PeerId peer) const noexcept {
    return peer < peers_.size() && peers_[peer].state == Peer::State::up;
  }
  [[nodiscard]] uint32_t peers_up() const noexcept;
  [[nodiscard]] uint32_t calls_in_flight() const noexcept { return calls_.in_use(); }
  [[nodiscard]] uint32_t ring_bytes() const noexcept { return ring_bytes_; }
  [[nodiscard]] const NodeCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] Fabric& fabric() noexcept { return fabric_; }
  /// For tests: the algebra of peer.hpp, for every peer.
  [[nodiscard]] bool is_valid() const;
  /// For tests: with nothing in flight anywhere, every ring is empty and every promise kept. Empty,
  /// or what is left.
  [[nodiscard]] std::string check_rest() const;

 private:
  Node(const NodeOptions& options, Fabric& fabric, const copykv::Clock& clock);

  enum class Post : uint64_t { part = 1, batch = 2, transfer = 3 };
  [[nodiscard]] static constexpr uint64_t context_of(Post what, uint32_t number) noexcept {
    return static_cast<uint64_t>(what) << 32 | number;
  }

  // node.cpp
  [[nodiscard]] copykv::Outcome<void> take_mailbox();
  [[nodiscard]] copykv::Outcome<void> plan_rings(uint32_t peers_max);
  void on_completion(const Completion& completion) noexcept;
  void on_arrival(uint32_t immediate) noexcept;
  [[nodiscard]] bool is_of_session(Peer& peer, uint16_t tag) noexcept;
  void beat() noexcept;
  [[nodiscard]] bool is_valid(const Peer& peer) const;

  // session.cpp
  void start_session(Peer& peer);
  bool send_hello(Peer& peer) noexcept;
  void on_hello(Peer& peer) noexcept;
  void accept_grant(Peer& peer, const Hello& hello) noexcept;
  void come_up(Peer& peer) noexcept;
  void fail(Peer& peer, const char* why) noexcept;
  void violate(Peer& peer, const char* what) noexcept;
  void finish_failing(Peer& peer) noexcept;
  [[nodiscard]] bool check_hello(const Peer& peer, const Hello& hello) const noexcept;

  // messages.hpp
  static constexpr uint32_t kCallChecksPerTurn = 256;
  template <class Write>
  void stage(Peer& peer, const MessageHeader& header, Write&& write) noexcept;
  template <class Take>
  void walk(Peer& peer, uint32_t& room, Take&& take) noexcept;
  template <class Take>
  [[nodiscard]] bool take_answer(Peer& peer, InBatch& batch, const MessageHeader& header,
                                 const std::byte* payload, uint32_t& room, Take&& take) noexcept;
  template <class Take>
  [[nodiscard]] uint32_t serve(Peer& peer, uint32_t calls_max, Take&& take) noexcept;
  /// Whether a message with this header fits `left` bytes of its batch, and is no larger than any.
  [[nodiscard]] bool fits(const MessageHeader& header, uint64_t left) const noexcept {
    return header.payload_bytes <= options_.message_bytes_max &&
           message_bytes(header.payload_bytes) <= left;
  }
  /// Whether the answer that a call has room for is no larger than any.
  [[nodiscard]] bool has_sane_room(const MessageHeader& header) const noexcept {
    return header.answer_room <= answer_room_max_;
  }

  // outbound.cpp
  void open_batch(Peer& peer, MessageKind kind) noexcept;
  void post_at_once(Peer& peer) noexcept;
  [[nodiscard]] bool has_window(const Peer& peer) const noexcept;
  [[nodiscard]] bool may_post(const Peer& peer) const noexcept;
  [[nodiscard]] bool post_batch(Peer& peer) noexcept;
  [[nodiscard]] bool post_part(Peer& peer, uint64_t from, uint32_t bytes) noexcept;
  [[nodiscard]] bool post_end(Peer& peer, uint64_t from) noexcept;
  void close_open_batch(Peer& peer) noexcept;
  Fabric::Posted count_transfer(PeerId peer, Fabric::Posted posted) noexcept;
  void take_credit(Peer& peer, uint32_t released) noexcept;
  void read_credit_cell(Peer& peer) noexcept;
  [[nodiscard]] bool credit_due(const Peer& peer) const noexcept;
  [[nodiscard]] bool write_credit(Peer& peer) noexcept;
  void activate(Peer& peer) noexcept;

  // inbound.cpp
  void on_batch(Peer& peer) noexcept;
  void end_walk(Peer& peer, const InBatch& batch) noexcept;
  [[nodiscard]] bool take_ended(uint32_t& checks, Answer& answer) noexcept;
  [[nodiscard]] bool next_batch_to_serve(Peer& peer) noexcept;
  void release(Peer& peer) noexcept;
  void queue_for_serving(Peer& peer) noexcept;

  // Constant after create.
  const NodeOptions options_;
  Fabric& fabric_;
  const copykv::Clock& clock_;
  const uint32_t answer_room_max_;  ///< of a call, in units of 16 bytes
  uint32_t ring_bytes_ = 0;
  uint32_t batches_max_ = 0;
  uint32_t batch_slots_ = 0;  ///< batches_max_, rounded up to a power of two
  uint32_t peers_max_ = 0;

  // Memory: rings (each with its credit page), and mirrors with what else is sent.
  std::byte* rings_ = nullptr;
  std::byte* sent_ = nullptr;
  uint64_t rings_bytes_ = 0;
  uint64_t sent_bytes_ = 0;
  std::byte* mailbox_ = nullptr;
  Memory sent_memory_{};
  Memory mailbox_memory_{};

  copykv::Random random_;
  std::vector<Peer> peers_;  ///< by node number
  uint32_t rings_used_ = 0;
  uint64_t last_session_ = 0;
  bool leaving_ = false;
  uint64_t now_ns_ = 0;
  uint64_t next_beat_ns_ = 0;
  CallTable calls_;
  uint32_t calls_to_check_ = 0;  ///< records below this: whether their calls have to end

  std::vector<Peer*> active_;
  uint32_t active_count_ = 0;
  uint32_t batches_out_ = 0;  ///< of all peers, not through yet
  std::vector<Peer*> failing_;
  uint32_t failing_count_ = 0;
  bool submit_due_ = false;

  /// Batches to be walked, oldest first.
  struct Arrival {
    PeerId peer;
    uint64_t session;
  };
  template <class T>
  struct Fifo {
    std::vector<T> entries;  ///< a power of two
    uint64_t head = 0;
    uint64_t tail = 0;
    void size_for(uint64_t count);
    [[nodiscard]] bool empty() const noexcept { return head == tail; }
    [[nodiscard]] uint64_t size() const noexcept { return tail - head; }
    [[nodiscard]] T& front() noexcept { return entries[head & (entries.size() - 1)]; }
    void pop() noexcept { ++head; }
    void push(const T& entry) noexcept { entries[tail++ & (entries.size() - 1)] = entry; }
  };
  Fifo<Arrival> arrivals_;
  Fifo<Peer*> serving_;
  Fifo<TransferEnd> transfers_;

  /// For a message that runs over the end of its ring.
  struct Scratch {
    std::vector<std::byte> bytes;
    bool taken = false;  ///< until flush

    [[nodiscard]] const std::byte* copy(const RingView& ring, uint64_t position,
                                        uint32_t count) noexcept {
      taken = true;
      ring.copy_out(position, bytes.data(), count);
      return bytes.data();
    }
  };
  Scratch answer_scratch_;
  Scratch call_scratch_;
  std::vector<std::byte> stage_scratch_;
  std::array<Completion, 32> completions_{};
  NodeCounters counters_{};
};

}  // namespace copyrpc

#include "copyrpc/messages.hpp"
