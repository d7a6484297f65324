// SPDX-License-Identifier: Apache-2.0
// A store-load fence paid by the side that sleeps instead of the side that works.
//
// Two parties that each store a word and then look at the other's need a full fence between the
// store and the load, both of them, or both can miss the other (one sleeps, nobody wakes it).
// The hot side would pay about 20 cycles per operation for it. Instead:
//
//   hot side   publish(seq);      compiler_barrier();      if (peek(sleeping)) wake();
//   sleeper    poke(sleeping, 1); global_membarrier();     if (nothing new) sleep();
//
// global_membarrier() makes every running thread of every registered process pass a full fence
// before it returns: either the hot side's load comes after it and sees `sleeping`, or its publish
// came before it and the sleeper sees the news.
//
// BOTH processes must have registered; else the hot side needs full_fence(). The cost is some
// microseconds, on the sleeper only, who has nothing better to do.
#pragma once

namespace copykv {

/// Makes this process take part in global_membarrier(). Once per process, before it relies on it;
/// a second call is harmless. False: the kernel (before 4.16, or a seccomp filter) does not offer
/// it.
[[nodiscard]] bool register_global_membarrier() noexcept;

/// A full fence on every running thread of every registered process. False: not available, and the
/// caller must fall back to full_fence() on both sides.
[[nodiscard]] bool global_membarrier() noexcept;

}  // namespace copykv
