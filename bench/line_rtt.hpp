// SPDX-License-Identifier: Apache-2.0
// What this machine can do at this moment: the round trip of one cache line with a payload of 56
// bytes between two threads pinned to two cores, stamped one by one with the same clock as the
// operations. Latency goals are ratios to it.
#pragma once

#include <cstdint>
#include <string>

#include "base/histogram.hpp"
#include "bench/tick_clock.hpp"

namespace copykv::bench {

struct LineRtt {
  uint64_t p50_ns = 0;
  Histogram histogram{};
  bool two_cores = true;  ///< false: the threads share a core and yield to each other
  std::string note{};     ///< why the figure is not what it should be; empty when it is
};

/// Takes about 100 ms; up to 3 s on a busy machine.
[[nodiscard]] LineRtt measure_line_rtt(const TickClock& clock);

}  // namespace copykv::bench
