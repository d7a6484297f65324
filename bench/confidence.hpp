// SPDX-License-Identifier: Apache-2.0
// How sure a median is.
//
// OVER RUNS  Order statistics: for independent runs the interval between the k-th smallest and the
//   k-th largest holds the true median with a probability that depends on the number of runs alone
//   (binomial, no assumption on the shape). The narrowest interval of at least 95 % is taken; below
//   six runs there is none, the whole range is given and `coverage` says how much it is worth
//   (two runs: 50 %, three: 75 %, five: 93.75 %).
// INSIDE A RUN  The same on the ranks of the histogram, n/2 -+ 1.96 sqrt(n)/2. It takes operations
//   for independent, which neighbours are not: it says how finely the median is resolved, not how
//   much it would move in another run. That is what the interval over runs is for.
#pragma once

#include <string_view>
#include <vector>

#include "base/histogram.hpp"

namespace copykv::bench {

struct MedianInterval {
  double median = 0;
  double low = 0;
  double high = 0;
  double coverage = 0;  ///< probability that low..high holds the true median; 0: one run
};
inline constexpr std::string_view kIntervalMethod =
    "order statistics (binomial), narrowest of at least 95 %; below six runs the whole range";

/// All zero when there are no samples.
[[nodiscard]] MedianInterval median_of_runs(std::vector<double> samples);

/// Probability that the k-th smallest and the k-th largest of n samples enclose the median, k >= 1.
[[nodiscard]] double coverage_of(size_t n, size_t k) noexcept;

/// 95 % interval of the p50 of one histogram, ns.
[[nodiscard]] MedianInterval median_of_histogram(const Histogram& histogram);

}  // namespace copykv::bench
