// SPDX-License-Identifier: Apache-2.0
// The TimeSource of a real run: the calibrated clock, and how an open loop lets time pass until its
// next start.
#pragma once

#include <sched.h>
#include <time.h>

#include <cstdint>

#include <copykv/client.hpp>

#include "base/atomics.hpp"
#include "bench/tick_clock.hpp"

namespace copykv::bench {

class RealTime {
 public:
  RealTime(TickClock clock, Wait wait) noexcept : clock_(clock), wait_(wait) {}

  [[nodiscard]] uint64_t now_ns() const noexcept { return clock_.now_ns(); }

  /// Sleeps only when the moment is far enough away that waking up late (a scheduler's tick, a
  /// virtual machine's interrupt) does not reach it, and no answer can come. While one can, it
  /// looks at short intervals, and now and then gives the core to whoever shares it.
  void idle_until(uint64_t until_ns, bool in_flight) noexcept {
    const uint64_t now_ns = clock_.now_ns();
    const uint64_t gap_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    if (!in_flight && gap_ns > kWakeMarginNs && wait_ != Wait::spin) {
      const uint64_t sleep_ns = gap_ns - kWakeMarginNs;
      const timespec gap{static_cast<time_t>(sleep_ns / kNanosPerSecond),
                         static_cast<long>(sleep_ns % kNanosPerSecond)};
      clock_nanosleep(CLOCK_MONOTONIC, 0, &gap, nullptr);
    } else if (gap_ns > kYieldGapNs && wait_ != Wait::spin &&
               (!in_flight || ++looks_ % kLooksPerYield == 0)) {
      sched_yield();
    } else {
      cpu_pause();
    }
  }

 private:
  static constexpr uint64_t kWakeMarginNs = kNanosPerMilli;
  static constexpr uint64_t kYieldGapNs = 2 * kNanosPerMicro;
  static constexpr uint32_t kLooksPerYield = 256;  // some 10 us

  TickClock clock_;
  Wait wait_;
  uint32_t looks_ = 0;
};

}  // namespace copykv::bench
