// SPDX-License-Identifier: Apache-2.0
#include "bench/clock_offset.hpp"

#include <algorithm>

namespace copykv::bench {
namespace {

// Fewer say too little to be cut again.
constexpr size_t kBoundsToCut = 32;

void align(std::span<const OffsetBound> bounds, std::vector<OffsetWindow>& windows) {
  int64_t low = bounds.front().low_ns;
  int64_t high = bounds.front().high_ns;
  for (const OffsetBound& bound : bounds) {
    low = std::max(low, bound.low_ns);
    high = std::min(high, bound.high_ns);
  }
  const bool fits_all = low <= high;
  if (!fits_all && bounds.size() >= kBoundsToCut) {
    const size_t half = bounds.size() / 2;
    align(bounds.first(half), windows);
    align(bounds.subspan(half), windows);
    return;
  }
  if (!fits_all) std::swap(low, high);
  const int64_t width = high - low;
  windows.push_back(
      {bounds.front().at_ns, low + width / 2, static_cast<uint64_t>(width + 1) / 2, fits_all});
}

}  // namespace

std::vector<OffsetWindow> align_clocks(std::vector<OffsetBound> bounds) {
  std::vector<OffsetWindow> windows;
  if (bounds.empty()) return windows;
  const auto earlier = [](const OffsetBound& a, const OffsetBound& b) { return a.at_ns < b.at_ns; };
  std::sort(bounds.begin(), bounds.end(), earlier);
  align(bounds, windows);
  return windows;
}

const OffsetWindow& window_at(std::span<const OffsetWindow> windows, uint64_t at_ns) noexcept {
  const auto after =
      std::upper_bound(windows.begin(), windows.end(), at_ns,
                       [](uint64_t at, const OffsetWindow& window) { return at < window.from_ns; });
  return after == windows.begin() ? windows.front() : *(after - 1);
}

}  // namespace copykv::bench
