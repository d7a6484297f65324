// SPDX-License-Identifier: Apache-2.0
// The engine's network on a rank that stamps (--record-stations): passes everything on, and writes
// down when the sampled requests among it passed (shm/station_ring.hpp).
//
// WHICH    A client marks a request in its line (docs/protocol.md, Stations); on the wire it has a
//   mark of this daemon thread's, which the owner's records carry too. Both are words that such a
//   request does not use otherwise: sampled requests take the paths that all take.
// MOMENTS  Exact about what caused what, so that clocks can be compared: a post is stamped not
//   later than it happens, an arrival not earlier. A look that takes all there is and finds nothing
//   bounds from below when a message can have come; looks are stamped when they begin.
//   A request that finds no room in the ring, or is put back, counts as seen when it is taken at
//   last. Of a response line the stamp is the next call of the engine.
//   A look is one poll of the fabric, for up to 32 events: where more wait, "at most" is too little
//   by a turn.
// LIMITS   kCallsMax sampled requests of each way at one time; beyond that they pass unstamped. A
//   request whose session ends, or that has to be asked again with more room, leaves no record.
// THREADS  The daemon thread. COST: two or three readings of the clock per turn that has to do with
//   sampled requests, else one per look at the network.
#pragma once

#include <array>
#include <cstdint>

#include "base/clock.hpp"
#include "daemon/rpc_network.hpp"
#include "shm/station_ring.hpp"

namespace copykv {

class StationNetwork final : public Network {
 public:
  /// All must outlive it. `posts_at_once`: a call or reply may post (--flush call).
  StationNetwork(RpcNetwork& network, StationRing& ring, bool posts_at_once, const Clock& clock);

  Sent call(const Pending& request) noexcept override;
  uint32_t call_plain(std::span<const Pending> requests, Sent& sent) noexcept override;
  uint32_t take_answers(std::span<RemoteAnswer> answers) noexcept override;
  uint32_t take_requests(std::span<RemoteRequest> requests) noexcept override;
  void put_back(uint32_t index) noexcept override;
  void reply_plain(std::span<const RemoteRequest> requests) noexcept override;
  void reply(const RemoteRequest& request, const StoreAnswer& answer,
             uint32_t value_bytes) noexcept override;
  bool move(const RemoteRequest& request, uint32_t move, std::byte* memory,
            uint32_t bytes) noexcept override;
  uint32_t take_moved(std::span<MoveEnd> ends) noexcept override;
  void reply_moved(uint32_t move, const StoreAnswer& answer) noexcept override;
  void set_peer(const copyrpc::Card& card) noexcept override { network_.set_peer(card); }
  void flush() noexcept override;
  void tick(uint64_t now_ns) noexcept override { network_.tick(now_ns); }
  bool busy() const noexcept override { return network_.busy(); }
  void show(DaemonBlock& block) const noexcept override { network_.show(block); }

 private:
  static constexpr uint32_t kCallsMax = 256;
  static constexpr uint32_t kIndexEntries = 4096;

  /// Where a message stands that has not been posted: in a batch of a session.
  struct Staged {
    copyrpc::PeerId peer = copyrpc::kNoPeer;
    uint64_t session = 0;
    uint32_t batch = 0;
  };
  struct Call {
    Ticket ticket{};
    StationRecord record{};
  };
  struct Unposted {
    Staged at{};
    uint32_t call = kCallsMax;  ///< that waits for its post; kCallsMax: it is an answer
    StationRecord answer{};
  };
  /// A sampled request of a peer; no mark: it is none.
  struct Asked {
    copyrpc::PeerId caller = copyrpc::kNoPeer;
    uint64_t mark = 0;
    uint64_t looked_ns = 0;
    uint64_t seen_ns = 0;
  };

  [[nodiscard]] static bool is_sampled(const Pending& request) noexcept {
    return peek(request.slot->request.owner) == request.seq;
  }
  [[nodiscard]] bool is_sampled(const RemoteRequest& request) const noexcept {
    return (sampled_ >> request.index & 1) != 0;
  }
  [[nodiscard]] Staged staged_now(copyrpc::PeerId peer) const noexcept;
  [[nodiscard]] bool is_posted(const Staged& at) const noexcept;
  [[nodiscard]] Sent call_sampled(const Pending& request) noexcept;
  template <class Step>
  auto watch(bool may_post, Step&& step) noexcept;
  void note_posted(uint64_t at_ns) noexcept;
  [[nodiscard]] uint16_t& index_of(const Ticket& ticket) noexcept {
    return index_[(ticket.lane * 67 + ticket.slot) % kIndexEntries];
  }
  void finish(uint32_t call, const RemoteAnswer& answer) noexcept;
  void note_written() noexcept;
  template <class Reply>
  void stamp_reply(const Asked& asked, Reply&& reply) noexcept;
  void miss() noexcept { count<uint64_t>(ring_.missed, 1); }

  RpcNetwork& network_;
  StationRing& ring_;
  const bool posts_at_once_;
  const Clock& clock_;

  uint64_t next_mark_;              ///< begins with the time: not even a next start gives one again
  uint64_t look_ns_ = 0;            ///< the last look
  uint64_t answers_looked_ns_ = 0;  ///< the last one before it that took all answers
  uint64_t calls_looked_ns_ = 0;    ///< the same, all requests
  bool answers_left_ = false;       ///< the last look did not take all
  bool calls_left_ = false;

  // Own calls: in flight, by ticket; answered, until the engine has written the responses.
  std::array<Call, kCallsMax> calls_{};
  std::array<uint16_t, kCallsMax> free_{};
  uint32_t free_count_ = kCallsMax;
  std::array<uint16_t, kIndexEntries>
      index_{};  ///< by ticket; 0: none, else one more than the call's
  std::array<uint16_t, kCallsMax> answered_{};
  uint32_t answered_count_ = 0;

  std::array<Unposted, 2 * kCallsMax> unposted_{};
  uint32_t unposted_count_ = 0;

  // Requests of the last take_requests, and those that wait for a large value.
  uint64_t sampled_ = 0;  ///< one bit each
  uint32_t taken_ = 0;
  std::array<Asked, kGroupMax> asked_{};
  std::array<Asked, kMovesMax> moving_{};
};

}  // namespace copykv
