// SPDX-License-Identifier: Apache-2.0
// One other node, as this node sees it: private state, one entry per node of the job.
//
// SESSION  A ring is granted for one session. Whenever anything goes wrong with a peer, the session
//   ends as a whole: its memory is deregistered, its calls end, and a new session starts with a new
//   key, tag and number. Nothing that was meant for the old one is accepted in the new one.
//
// ALGEBRA  (is_valid)                           checked by tests after every step
//   open batch       [posted or sealed end, staged) of the mirror, header first; empty when
//                    open_messages() == 0
//   staged - freed   == bytes of batches not released by the peer + the open batch  <= ring_bytes
//   call_room   == share - sum of call_bytes over those batches
//   answer_room == share - sum of answer_cost over calls in flight and answers not yet released
#pragma once

#include <cstdint>
#include <vector>

#include "copyrpc/call_table.hpp"
#include "copyrpc/ring.hpp"
#include "copyrpc/wire.hpp"

namespace copyrpc {

/// Sent memory holds for each peer the mirror, and behind it the hello and the outgoing credit
/// word.
inline constexpr uint32_t kSentExtraBytes = 4096;
inline constexpr uint32_t kCreditOutOffset = 512;  ///< behind the mirror: on a line of its own

/// Whether batch number `a` comes before `b`; numbers wrap, and are never far apart.
[[nodiscard]] constexpr bool is_before(uint32_t a, uint32_t b) noexcept {
  return a - b >= uint32_t{1} << 31;
}

/// A batch that we have posted and that the peer has not released.
struct OutBatch {
  uint32_t bytes = 0;
  uint32_t call_bytes = 0;
};

/// A batch that runs over the end of the ring takes two posts. When only the first was accepted, it
/// is complete: what is staged behind it opens another batch.
struct SealedBatch {
  uint64_t end = 0;  ///< position; 0: there is none
  uint32_t call_bytes = 0;
};

/// A batch of the peer that stands in our ring.
struct InBatch {
  uint64_t start = 0;  ///< position of its header
  uint32_t bytes = 0;
  uint32_t answer_cost = 0;  ///< room that its answers had reserved
  uint16_t message_count = 0;
  uint16_t calls_left = 0;    ///< not yet served
  uint16_t calls_unseen = 0;  ///< not yet walked

  /// Its messages are looked at when they are served, and not before.
  [[nodiscard]] bool only_calls() const noexcept { return calls_unseen == message_count; }
};

/// Where serving stands in a batch.
struct ServeCursor {
  uint64_t position = 0;
  uint32_t batch = 0;
  uint32_t messages_left = 0;
};

struct Peer {
  enum class State : uint8_t {
    none,        ///< no card
    waiting,     ///< has a card; a session starts when retry_ns is reached
    connecting,  ///< our grant is out, the peer's not here or not confirmed
    failing,     ///< the session is over: its calls are being told, its posts must end
    up,          ///< from here on: usable()
    draining,    ///< the peer is leaving: no new calls
  };

  // Of the peer.
  PeerId id = 0;
  State state = State::none;
  bool connected = false;  ///< the fabric knows it
  Card card{};
  uint64_t retry_ns = 0;

  // Of the session.
  uint64_t session = 0;  ///< our grant to the peer
  uint16_t tag = 0;
  uint64_t seen_session = 0;  ///< the peer's grant to us; 0: none
  uint64_t over_session = 0;  ///< newest grant of the peer that must not be used again
  Hello grant{};              ///< the peer's
  Memory ring_memory{};       ///< what we granted: ring, then credit page
  RingView ring{};
  RingView mirror{};
  uint32_t share = 0;              ///< of the ring: half for calls, half for answers
  uint32_t call_bytes_max = 0;     ///< payload that both sides take
  uint32_t answer_bytes_max = 0;   ///< payload that fits our share
  uint64_t mirror_offset = 0;      ///< in the node's mirror memory
  uint32_t posts_outstanding = 0;  ///< signalled posts not ended
  uint64_t heard_ns = 0;
  bool heard = false;
  uint32_t beat = 0;        ///< ours
  uint32_t their_beat = 0;  ///< last seen in the credit cell

  // Outbound.
  uint64_t staged = 0;
  uint64_t posted = 0;
  uint64_t freed = 0;
  uint64_t opened_ns = 0;   ///< hold: when the open batch got its first message
  uint64_t closed = 0;      ///< where the open batch begins
  uint32_t open_calls = 0;  ///< messages of the open batch
  uint32_t open_answers = 0;
  uint32_t open_call_bytes = 0;
  uint32_t open_batch = 0;     ///< number of the batch that is being staged
  uint32_t turns_put_off = 0;  ///< clocked: flushes that the open batch has waited for company
  SealedBatch sealed{};
  uint32_t call_room = 0;  ///< ring bytes that calls may still take
  uint32_t batches_posted = 0;
  uint32_t batches_through = 0;   ///< of them, ended at the fabric
  uint32_t batches_released = 0;  ///< of them, released by the peer
  uint32_t answer_room = 0;       ///< ring bytes that answers may still be promised
  std::vector<OutBatch> out;      ///< by batch number

  // Inbound.
  uint64_t received_end = 0;  ///< position after the last batch
  uint32_t batches_received = 0;
  uint32_t batches_walked = 0;
  uint32_t released = 0;  ///< batches
  uint32_t released_told = 0;
  uint32_t bytes_in = 0;      ///< of batches received and not released
  uint32_t bytes_untold = 0;  ///< released, but the peer does not know yet
  uint64_t walk_position = 0;
  uint32_t walk_left = 0;  ///< messages of the batch that is being walked; 0: none is
  ServeCursor serve{};
  std::vector<InBatch> in;  ///< by batch number

  bool active = false;   ///< on the node's list of peers that flush must look at
  bool serving = false;  ///< in the node's queue of peers with calls to serve

  [[nodiscard]] bool usable() const noexcept { return state >= State::up; }
  [[nodiscard]] uint32_t open_messages() const noexcept { return open_calls + open_answers; }
  /// Batches have come that are not walked, or calls that are not served.
  [[nodiscard]] bool has_backlog() const noexcept {
    return serving || batches_walked != batches_received;
  }
  [[nodiscard]] uint32_t in_flight() const noexcept { return batches_posted - batches_through; }
  [[nodiscard]] OutBatch& out_batch(uint32_t number) noexcept {
    return out[number & (out.size() - 1)];
  }
  [[nodiscard]] InBatch& in_batch(uint32_t number) noexcept { return in[number & (in.size() - 1)]; }
  [[nodiscard]] const OutBatch& out_batch(uint32_t number) const noexcept {
    return out[number & (out.size() - 1)];
  }
};

}  // namespace copyrpc
