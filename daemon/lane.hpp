// SPDX-License-Identifier: Apache-2.0
// The daemon's end of one lane: its private table entry. Every decision is made from here; what
// stands in shared memory is input (shm/slot.hpp, I3).
#pragma once

#include <cstddef>
#include <cstdint>

#include "daemon/transfer.hpp"
#include "shm/segment.hpp"

namespace copykv {

/// What the control thread knows of a client's lane when it hands it over. The memory stays mapped
/// until the daemon has published `*closed`.
struct LaneSetup {
  uint32_t id = 0;  ///< index in the daemon's lane table, the same at every daemon of the rank
  uint32_t depth = 0;
  uint32_t slot_payload_bytes = 0;
  bool fence_free = false;
  Slot* slots = nullptr;
  std::byte* payload = nullptr;
  std::byte* bulk = nullptr;
  ClientControl* control = nullptr;
  const uint64_t* bulk_bytes_granted = nullptr;  ///< published by the control thread, only grows
  uint32_t* closed = nullptr;                    ///< published as 1 when the lane is free
};

/// What is kept of a request at dispatch; the only thing an answer is stamped from.
struct Ticket {
  uint32_t lane = 0;
  uint32_t slot = 0;
  uint32_t seq = 0;
};

struct alignas(2 * kCacheLineBytes) Lane {
  enum class Place : uint8_t {
    none,     ///< not attached
    ground,   ///< on the ground queue
    parked,   ///< silent for long: looked at in turn, one lane every few turns
    busy,     ///< a large value is moving; nothing further is taken until it is answered
    full,     ///< every slot is in flight at other ranks, or a large value is on its way to one
    closing,  ///< its client is gone; freed when nothing is in flight any more
  };

  // Read on every look.
  Slot* slots = nullptr;
  uint32_t next_slot = 0;
  uint32_t seq = 1;  ///< what the next slot's request will carry: the lap of the ring, from 1
  uint32_t depth = 0;
  Place place = Place::none;
  bool fence_free = false;

  uint64_t position_at_check = 0;  ///< compared with position() to notice silence
  uint32_t silent_checks = 0;
  uint32_t refused_seq = 0;   ///< last out-of-order sequence that was answered
  uint64_t remote_slots = 0;  ///< slots with a ticket out at another rank, one bit each
  uint64_t moving_slot = 0;   ///< of them, the one of a large put: nothing further is taken

  // Constant while attached.
  LaneSetup setup{};

  // A large value on its way.
  Transfer transfer{};
  Ticket transfer_ticket{};
  std::byte* transfer_memory = nullptr;  ///< where the value stands or goes in the segment
  Placement transfer_placement = Placement::page;
  uint32_t transfer_user_flags = 0;
  uint64_t transfer_version = 0;

  void attach(const LaneSetup& with) noexcept {
    *this = {};
    setup = with;
    slots = with.slots;
    depth = with.depth;
    fence_free = with.fence_free;
  }

  /// Moves on to the next slot in ring order.
  void advance() noexcept {
    if (++next_slot == depth) {
      next_slot = 0;
      ++seq;
    }
  }
  /// Grows with each request taken.
  [[nodiscard]] uint64_t position() const noexcept { return uint64_t{seq} << 32 | next_slot; }
  /// Takes back everything from `slot` (taken with `its_seq`) on: it will be looked at again.
  void rewind_to(uint32_t slot, uint32_t its_seq) noexcept {
    next_slot = slot;
    seq = its_seq;
  }
  /// The next slot's request is still under way at another rank: nothing new can be there.
  [[nodiscard]] bool next_in_flight() const noexcept {
    return remote_slots != 0 && (remote_slots >> next_slot & 1) != 0;
  }
  /// Whether the next slot holds a new request (acquire: [A] in shm/slot.hpp).
  [[nodiscard]] bool has_request() const noexcept {
    return head_seq(observe(slots[next_slot].request.head)) == seq;
  }
  [[nodiscard]] std::byte* payload_of(uint32_t slot) const noexcept {
    return setup.payload + size_t{slot} * setup.slot_payload_bytes;
  }
};

}  // namespace copykv
