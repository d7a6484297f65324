// SPDX-License-Identifier: Apache-2.0
// One growing part of a shard's memory: mapped whole from the start, backed by pages step by step.
//
// PROTOCOL                                                            order     pairs with
//   daemon   raises wanted_bytes as it consumes                       relaxed   [E]
//   control  peeks wanted_bytes, populates pages, then publishes
//            populated_bytes; sets exhausted when no more will come   release   [F]
//   daemon   observes exhausted, then populated_bytes                 acquire   [F]
// The daemon touches nothing at or beyond populated_bytes, so it never faults and never sees
// SIGBUS. populated_bytes never shrinks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/atomics.hpp"

namespace copykv {

struct Region {
  std::byte* base = nullptr;
  uint64_t virtual_bytes = 0;

  /// Written by the control thread: a line apart from the daemon's word.
  alignas(2 * kCacheLineBytes) uint64_t populated_bytes = 0;
  uint32_t exhausted = 0;

  /// Written by the daemon: the region is needed up to here.
  alignas(2 * kCacheLineBytes) uint64_t wanted_bytes = 0;
};

}  // namespace copykv
