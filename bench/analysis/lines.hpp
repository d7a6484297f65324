// SPDX-License-Identifier: Apache-2.0
// Straight lines through points, by two methods that fail in different ways: least squares uses
// every point and is dragged by outliers, Theil-Sen takes the median slope and is not. Where they
// disagree, a line is not what the points show.
#pragma once

#include <cstddef>
#include <span>

namespace copykv::bench::analysis {

struct Sample {
  double x = 0;
  double y = 0;
  double weight = 1;  ///< least squares only
};

/// 95 %; low == high when there are too few points to say.
struct Estimate {
  double value = 0;
  double low = 0;
  double high = 0;
};

struct Line {
  Estimate intercept{};
  Estimate slope{};
  double residual_rms = 0;  ///< of y
  size_t points = 0;        ///< 0: no line, the points have fewer than two places

  [[nodiscard]] double at(double x) const noexcept { return intercept.value + slope.value * x; }
};

/// Weighted least squares; intervals by Student's t on n - 2 degrees of freedom (weights count as
/// relative precision, not as numbers of points).
[[nodiscard]] Line least_squares(std::span<const Sample> samples);

/// Median of the slopes of all pairs (Theil 1950; interval by the ranks of Kendall's tau, Sen
/// 1968); the intercept is the median of y - slope x, its interval that of the slope's ends.
[[nodiscard]] Line theil_sen(std::span<const Sample> samples);

/// 97.5 % point of Student's t.
[[nodiscard]] double student_t_975(size_t degrees_of_freedom) noexcept;

}  // namespace copykv::bench::analysis
