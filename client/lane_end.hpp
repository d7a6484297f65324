// SPDX-License-Identifier: Apache-2.0
// The client's end of one lane: Q slots used in ring order, and what each of them was asked.
//
// A slot is free, asked (request published), or done (its answer was taken; its memory still backs
// the views given out). Tail moves over done slots, so `used` counts asked and done-but-blocked
// ones.
//
// INVARIANTS
//   E1  used <= depth; the slot at `head` is free exactly when used < depth.
//   E2  records[slot].seq is what was last published in the slot; the next is one more.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "client/bulk.hpp"
#include "shm/rank_page.hpp"
#include "shm/slot.hpp"

namespace copykv {

/// Who takes the answer.
enum class Sink : uint8_t {
  none,  ///< taken: the slot is done (or was never used)
  user,  ///< poll and wait
  call,  ///< the synchronous or batch call that is under way
};

struct OpRecord {
  uint64_t tag = 0;
  uint32_t seq = 0;
  Sink sink = Sink::none;
  Op op = Op::ping;
  uint8_t attempts = 0;  ///< times this get was asked again with more room
  BulkRoom room{};
};

struct LaneEnd {
  Slot* slots = nullptr;
  std::byte* payload = nullptr;  ///< of slot 0; the others follow
  const DaemonBlock* daemon = nullptr;
  uint32_t slot_payload_bytes = 0;
  uint32_t index = 0;
  uint32_t depth = 0;
  uint32_t head = 0;  ///< slot of the next request
  uint32_t tail = 0;  ///< oldest slot that is not free
  uint32_t used = 0;
  std::array<OpRecord, kQueueDepthMax> records{};

  [[nodiscard]] std::byte* payload_of(uint32_t slot) const noexcept {
    return payload + size_t{slot} * slot_payload_bytes;
  }
  /// The daemon's answer to the request in this slot is there.        [B] acquire
  [[nodiscard]] bool answered(uint32_t slot) const noexcept {
    return head_seq(observe(slots[slot].response.head)) == records[slot].seq;
  }
  [[nodiscard]] uint32_t next(uint32_t slot) const noexcept {
    return slot + 1 == depth ? 0 : slot + 1;
  }
  /// Takes the slot at head for a request.
  OpRecord& take(uint32_t& slot) noexcept {
    slot = head;
    head = next(head);
    ++used;
    OpRecord& record = records[slot];
    ++record.seq;
    return record;
  }
  /// The answer in this slot was taken; frees what can be freed in ring order.
  void done(uint32_t slot) noexcept {
    records[slot].sink = Sink::none;
    while (used > 0 && records[tail].sink == Sink::none) {
      tail = next(tail);
      --used;
    }
  }
};

}  // namespace copykv
