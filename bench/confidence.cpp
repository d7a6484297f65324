// SPDX-License-Identifier: Apache-2.0
#include "bench/confidence.hpp"

#include <algorithm>
#include <cmath>

namespace copykv::bench {

double coverage_of(size_t n, size_t k) noexcept {
  // 1 - 2 P(Binomial(n, 1/2) < k), in logarithms: 2^-n alone would underflow.
  const auto log_choose = [n](size_t i) {
    return std::lgamma(static_cast<double>(n) + 1) - std::lgamma(static_cast<double>(i) + 1) -
           std::lgamma(static_cast<double>(n - i) + 1);
  };
  double below = 0;
  for (size_t i = 0; i < k; ++i) {
    below += std::exp(log_choose(i) - static_cast<double>(n) * std::log(2.0));
  }
  return std::max(0.0, 1 - 2 * below);
}

MedianInterval median_of_runs(std::vector<double> samples) {
  constexpr double kCoverage = 0.95;
  if (samples.empty()) return {};
  std::sort(samples.begin(), samples.end());
  const size_t n = samples.size();
  const double median = n % 2 == 1 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2;
  if (n == 1) return {median, median, median, 0};
  size_t k = 1;
  while (k + 1 <= n / 2 && coverage_of(n, k + 1) >= kCoverage) ++k;
  return {median, samples[k - 1], samples[n - k], coverage_of(n, k)};
}

MedianInterval median_of_histogram(const Histogram& histogram) {
  if (histogram.count() == 0) return {};
  constexpr double kNormal95 = 1.96;
  const double half_width_percent =
      100 * kNormal95 / 2 / std::sqrt(static_cast<double>(histogram.count()));
  const auto at = [&](double percent) {
    return static_cast<double>(histogram.percentile_ns(std::clamp(percent, 0.0, 100.0)));
  };
  return {at(50), at(50 - half_width_percent), at(50 + half_width_percent), 0.95};
}

}  // namespace copykv::bench
