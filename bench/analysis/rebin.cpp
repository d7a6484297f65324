// SPDX-License-Identifier: Apache-2.0
#include "bench/analysis/rebin.hpp"

#include <algorithm>
#include <cmath>

namespace copykv::bench::analysis {
namespace {
constexpr size_t kFew = 20;
}

std::vector<Bin> coarser(const std::vector<Bin>& bins, size_t bins_max) {
  if (bins.empty()) return {};
  const bool touching =
      std::adjacent_find(bins.begin(), bins.end(), [](const Bin& a, const Bin& b) {
        return b.low_ns > a.high_ns * 1.001 + 1;
      }) == bins.end();
  if (touching && bins.size() <= bins_max) return bins;
  const double low = std::max(1.0, bins.front().low_ns);
  const double high = std::max(bins.back().high_ns, low * 1.001);
  const double step = std::log(high / low) / static_cast<double>(bins_max);
  std::vector<Bin> out(bins_max);
  for (size_t i = 0; i < bins_max; ++i) {
    out[i] = {low * std::exp(step * static_cast<double>(i)),
              low * std::exp(step * static_cast<double>(i + 1)), 0};
  }
  for (const Bin& bin : bins) {
    const double middle = std::max(low, (bin.low_ns + bin.high_ns) / 2);
    const auto at = static_cast<size_t>(std::log(middle / low) / step);
    out[std::min(at, bins_max - 1)].count += bin.count;
  }
  return out;
}

std::vector<Bin> rebin(const std::vector<Bin>& bins, size_t bins_max) {
  if (bins.size() <= kFew) return bins;  // coarse already: all of it
  double total = 0;
  for (const Bin& bin : bins) total += bin.count;
  std::vector<Bin> inner;
  double seen = 0;
  for (const Bin& bin : bins) {
    seen += bin.count;
    if (seen > 0.005 * total && seen <= 0.995 * total) inner.push_back(bin);
  }
  return coarser(inner.empty() ? bins : inner, bins_max);
}

}  // namespace copykv::bench::analysis
