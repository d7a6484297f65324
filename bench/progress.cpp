// SPDX-License-Identifier: Apache-2.0
#include "bench/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/clock.hpp"
#include "base/units.hpp"
#include "bench/crew.hpp"

namespace copykv::bench {
namespace {

LiveStats sum(std::span<const CrewCell> cells) {
  LiveStats total;
  for (const CrewCell& cell : cells) {
    total.operations += peek(cell.live.operations);
    total.errors += peek(cell.live.errors);
    for (uint32_t i = 0; i < LiveStats::kBuckets; ++i) {
      total.latency_counts[i] += peek(cell.live.latency_counts[i]);
    }
  }
  return total;
}

// Of what came between the two.
uint64_t p50_ns(const LiveStats& before, const LiveStats& now) {
  uint64_t samples = 0;
  for (uint32_t i = 0; i < LiveStats::kBuckets; ++i) {
    samples += now.latency_counts[i] - before.latency_counts[i];
  }
  uint64_t passed = 0;
  for (uint32_t i = 0; i < LiveStats::kBuckets; ++i) {
    passed += now.latency_counts[i] - before.latency_counts[i];
    if (passed > 0 && 2 * passed >= samples) return LiveStats::upper_ns(i);
  }
  return 0;
}

}  // namespace

Progress::Progress(std::string phase)
    : enabled_(::isatty(STDERR_FILENO) == 1),
      phase_(std::move(phase)),
      began_ns_(SystemClock().now_ns()),
      last_ns_(began_ns_) {}

Progress::~Progress() {
  if (shown_) fmt::print(stderr, "\r\033[K");
}

void Progress::tick(std::span<const CrewCell> cells) {
  if (!enabled_) return;
  if (!based_) last_ = sum(cells);
  based_ = true;
  const uint64_t now_ns = SystemClock().now_ns();
  if (now_ns - last_ns_ < kNanosPerSecond) return;
  const LiveStats now = sum(cells);
  const double seconds =
      static_cast<double>(now_ns - last_ns_) / static_cast<double>(kNanosPerSecond);
  fmt::print(stderr, "\r\033[K{} {} s  {} ops/s  p50 {}  errors {}", phase_,
             (now_ns - began_ns_) / kNanosPerSecond,
             round_count(static_cast<double>(now.operations - last_.operations) / seconds),
             round_duration(p50_ns(last_, now)), now.errors);
  std::fflush(stderr);
  shown_ = true;
  last_ = now;
  last_ns_ = now_ns;
}

}  // namespace copykv::bench
