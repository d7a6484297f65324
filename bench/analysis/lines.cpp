// SPDX-License-Identifier: Apache-2.0
#include "bench/analysis/lines.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace copykv::bench::analysis {
namespace {

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double rms_of(std::span<const Sample> samples, const Line& line) {
  double sum = 0;
  double weights = 0;
  for (const Sample& s : samples) {
    const double off = s.y - line.at(s.x);
    sum += s.weight * off * off;
    weights += s.weight;
  }
  return weights > 0 ? std::sqrt(sum / weights) : 0;
}

double median_intercept(std::span<const Sample> samples, double slope) {
  std::vector<double> intercepts;
  for (const Sample& s : samples) intercepts.push_back(s.y - slope * s.x);
  return median_of(std::move(intercepts));
}

}  // namespace

double student_t_975(size_t degrees_of_freedom) noexcept {
  constexpr std::array kTable = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365,
                                 2.306,  2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
                                 2.131,  2.120, 2.110, 2.101, 2.093, 2.086};
  if (degrees_of_freedom == 0) return INFINITY;
  if (degrees_of_freedom <= kTable.size()) return kTable[degrees_of_freedom - 1];
  // Cornish-Fisher's first term; right to 0.2 % from 21 degrees on.
  constexpr double kNormal975 = 1.96;
  return kNormal975 +
         (kNormal975 + std::pow(kNormal975, 3)) / (4 * static_cast<double>(degrees_of_freedom));
}

Line least_squares(std::span<const Sample> samples) {
  double weights = 0;
  double mean_x = 0;
  double mean_y = 0;
  for (const Sample& s : samples) {
    weights += s.weight;
    mean_x += s.weight * s.x;
    mean_y += s.weight * s.y;
  }
  if (weights <= 0) return {};
  mean_x /= weights;
  mean_y /= weights;
  double sxx = 0;
  double sxy = 0;
  for (const Sample& s : samples) {
    sxx += s.weight * (s.x - mean_x) * (s.x - mean_x);
    sxy += s.weight * (s.x - mean_x) * (s.y - mean_y);
  }
  if (sxx <= 0) return {};
  Line line;
  line.points = samples.size();
  line.slope.value = sxy / sxx;
  line.intercept.value = mean_y - line.slope.value * mean_x;
  line.residual_rms = rms_of(samples, line);
  double slope_half = 0;
  double intercept_half = 0;
  if (samples.size() > 2) {
    const auto n = static_cast<double>(samples.size());
    const double variance = line.residual_rms * line.residual_rms * n / (n - 2);
    const double t = student_t_975(samples.size() - 2);
    slope_half = t * std::sqrt(variance * weights / n / sxx);
    intercept_half = t * std::sqrt(variance * (1 / n + mean_x * mean_x * weights / n / sxx));
  }
  line.slope.low = line.slope.value - slope_half;
  line.slope.high = line.slope.value + slope_half;
  line.intercept.low = line.intercept.value - intercept_half;
  line.intercept.high = line.intercept.value + intercept_half;
  return line;
}

Line theil_sen(std::span<const Sample> samples) {
  std::vector<double> slopes;
  for (size_t i = 0; i < samples.size(); ++i) {
    for (size_t j = i + 1; j < samples.size(); ++j) {
      if (samples[i].x == samples[j].x) continue;
      slopes.push_back((samples[j].y - samples[i].y) / (samples[j].x - samples[i].x));
    }
  }
  if (slopes.empty()) return {};
  std::sort(slopes.begin(), slopes.end());
  Line line;
  line.points = samples.size();
  line.slope.value = median_of(slopes);
  line.intercept.value = median_intercept(samples, line.slope.value);
  const auto n = static_cast<double>(samples.size());
  const double spread = 1.96 * std::sqrt(n * (n - 1) * (2 * n + 5) / 18);
  const auto pairs = static_cast<double>(slopes.size());
  const double lowest = std::clamp(std::floor((pairs - spread) / 2), 0.0, pairs - 1);
  const double highest = std::clamp(std::ceil((pairs + spread) / 2), 0.0, pairs - 1);
  line.slope.low = slopes[static_cast<size_t>(lowest)];
  line.slope.high = slopes[static_cast<size_t>(highest)];
  const double at_low = median_intercept(samples, line.slope.high);
  const double at_high = median_intercept(samples, line.slope.low);
  line.intercept.low = std::min(at_low, at_high);
  line.intercept.high = std::max(at_low, at_high);
  line.residual_rms = rms_of(samples, line);
  return line;
}

}  // namespace copykv::bench::analysis
