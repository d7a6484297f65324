// SPDX-License-Identifier: Apache-2.0
// The least that a map behind slots can do, as a yardstick: the same lines move in the same ring
// order, but keys are integers, nothing is checked, and the table is fixed.
#pragma once

#include <cstdint>
#include <vector>

#include "base/atomics.hpp"
#include "shm/slot.hpp"

namespace copykv::bench {

class BareLoop {
 public:
  BareLoop(uint32_t key_count, uint32_t queue_depth);

  /// One server thread: serves until *stop is published as 1. Group prefetch as in the engine.
  void serve(const uint32_t& stop) noexcept;
  /// One client thread: gets for `duration_ns`; returns gets per second, or 0 after a wrong value.
  [[nodiscard]] double drive(uint64_t duration_ns) noexcept;

 private:
  struct Entry {
    uint64_t key;  ///< plus one; 0: empty
    uint64_t value;
  };
  [[nodiscard]] uint64_t place_of(uint64_t key) const noexcept {
    return (key * 0x9e3779b97f4a7c15ULL) >> shift_;
  }
  [[nodiscard]] static uint64_t value_of(uint64_t key) noexcept { return ~key; }

  const uint32_t key_count_;
  const uint32_t queue_depth_;
  uint32_t shift_;
  std::vector<Entry> table_;
  std::vector<Slot> slots_;

  // The server's place in the ring.
  uint32_t slot_ = 0;
  uint64_t seq_ = 1;

  // The client's: what each slot was asked, and the ring's ends.
  std::vector<uint64_t> asked_;
  std::vector<uint64_t> seqs_;
  uint32_t head_ = 0;
  uint32_t tail_ = 0;
};

}  // namespace copykv::bench
