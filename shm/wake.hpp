// SPDX-License-Identifier: Apache-2.0
// Sleeping and waking across shared memory, without a fence on the side that is busy.
//
// The classic store-load race: a sleeper announces itself and looks once more for work; a waker
// publishes work and looks for the announcement. Unless both have a full store-load fence between
// their two steps, each can miss the other and the sleeper sleeps for ever.
//
// PROTOCOL                                                             pairs with
//   client  publish(request); light(); peek(daemon.sleeping)             [C]
//   daemon  poke(daemon.sleeping, 1); heavy(); scan all lanes; sleep     [C]
//   daemon  publish(response); light(); peek(client.sleeping)            [D]
//   client  poke(client.sleeping, 1); heavy(); look for answers; sleep   [D]
//
// Where both processes could register for membarrier(2), light() is a compiler barrier and heavy()
// interrupts every core that runs a registered process: the busy side pays nothing, the sleeper a
// few microseconds. Otherwise both are full fences. The two sides agree at attach
// (Welcome::fence_free).
//
// PROVED BY  tests/model/sleep.pml (both variants, and that dropping a fence is found).
#pragma once

#include <cstdint>

#include "base/atomics.hpp"
#include "base/planted.hpp"

namespace copykv {

/// Between a publish and the look at the other side's announcement.
inline void light_fence(bool fence_free) noexcept {
  if (fence_free || COPYKV_PLANTED(no_fence)) {
    compiler_barrier();
  } else {
    full_fence();
  }
}

/// Between the own announcement and the last look for work.
void heavy_fence(bool fence_free) noexcept;

/// Sleeps while `word` is `expected`, at most `timeout_ns`; returns early on wake_futex or a
/// signal.
void wait_futex(const uint32_t& word, uint32_t expected, uint64_t timeout_ns) noexcept;

/// Wakes whoever sleeps on `word`, in any process.
void wake_futex(uint32_t& word) noexcept;

}  // namespace copykv
