// SPDX-License-Identifier: Apache-2.0
#include "bench/tick_clock.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <unistd.h>

namespace copykv::bench {
namespace {

#if defined(__x86_64__)
// CPUID 0x80000007, EDX bit 8: the counter runs at one rate in every power state.
bool counter_is_steady() noexcept {
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  return __get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) != 0 && (edx & (1U << 8)) != 0;
}

struct Pair {
  uint64_t ticks;
  uint64_t ns;
};

// Both clocks at one moment: the tightest of some tries, so that a preemption between the two
// readings does not enter.
Pair read_both() noexcept {
  constexpr int kTries = 50;
  const SystemClock system;
  Pair best{};
  uint64_t best_gap = UINT64_MAX;
  for (int i = 0; i < kTries; ++i) {
    const uint64_t before = __rdtsc();
    const uint64_t ns = system.now_ns();
    const uint64_t after = __rdtsc();
    if (after - before < best_gap) {
      best_gap = after - before;
      best = {before + (after - before) / 2, ns};
    }
  }
  return best;
}
#endif

}  // namespace

TickClock TickClock::calibrate() noexcept {
  TickClock clock;
#if defined(__x86_64__)
  if (!counter_is_steady()) return clock;
  constexpr useconds_t kCalibrationUs = 40'000;
  const Pair first = read_both();
  usleep(kCalibrationUs);
  const Pair second = read_both();
  if (second.ticks <= first.ticks || second.ns <= first.ns) return clock;
  clock.ns_per_tick_2_32_ = static_cast<uint64_t>(
      (static_cast<unsigned __int128>(second.ns - first.ns) << 32) / (second.ticks - first.ticks));
  clock.origin_ticks_ = second.ticks;
  clock.origin_ns_ = second.ns;
  clock.counter_ = true;
#endif
  return clock;
}

}  // namespace copykv::bench
