// SPDX-License-Identifier: Apache-2.0
// Time stamps cheap enough to take twice per poll round: the processor's counter, calibrated once
// against CLOCK_MONOTONIC, or CLOCK_MONOTONIC itself where the counter is not steady.
//
// A stamp is in the CLOCK_MONOTONIC domain, so that threads and processes that share one TickClock
// (by value, over fork) agree. The calibration's error is below 10 ppm.
// THREADS  immutable after construction.
#pragma once

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include <cstdint>

#include "base/clock.hpp"

namespace copykv::bench {

class TickClock {
 public:
  /// Takes about 40 ms: the calibration.
  [[nodiscard]] static TickClock calibrate() noexcept;

  /// Not earlier than the loads before it: an answer seen is an answer stamped afterwards.
  [[nodiscard]] uint64_t now_ns() const noexcept {
#if defined(__x86_64__)
    if (counter_) [[likely]] {
      _mm_lfence();
      return origin_ns_ + scaled(__rdtsc() - origin_ticks_);
    }
#endif
    return SystemClock().now_ns();
  }

  /// "tsc" or "clock_monotonic", for the report.
  [[nodiscard]] const char* name() const noexcept {
    return counter_ ? "tsc" : "clock_monotonic";
  }

 private:
  [[nodiscard]] uint64_t scaled(uint64_t ticks) const noexcept {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(ticks) * ns_per_tick_2_32_) >> 32);
  }

  bool counter_ = false;
  uint64_t origin_ticks_ = 0;
  uint64_t origin_ns_ = 0;
  uint64_t ns_per_tick_2_32_ = 0;  ///< nanoseconds per tick times 2^32
};

}  // namespace copykv::bench
