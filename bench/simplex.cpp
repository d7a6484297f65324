// SPDX-License-Identifier: Apache-2.0
#include "bench/simplex.hpp"

#include <algorithm>

namespace copykv::bench {
namespace {

struct Corner {
  std::vector<double> at;
  double value;
};

}  // namespace

Least find_least(const std::function<double(const std::vector<double>&)>& function,
                 const std::vector<double>& start, const std::vector<Bound>& bounds, double step,
                 uint32_t evaluations_max) {
  const size_t dimensions = start.size();
  uint32_t evaluations = 0;
  const auto corner_at = [&](std::vector<double> at) {
    for (size_t i = 0; i < dimensions; ++i) {
      at[i] = std::clamp(at[i], bounds[i].low, bounds[i].high);
    }
    ++evaluations;
    const double value = function(at);
    return Corner{std::move(at), value};
  };
  std::vector<Corner> corners = {corner_at(start)};
  for (size_t i = 0; i < dimensions; ++i) {
    std::vector<double> at = start;
    const double range = bounds[i].high - bounds[i].low;
    at[i] += (at[i] + step * range > bounds[i].high ? -step : step) * range;
    corners.push_back(corner_at(std::move(at)));
  }
  while (evaluations < evaluations_max) {
    std::sort(corners.begin(), corners.end(),
              [](const Corner& a, const Corner& b) { return a.value < b.value; });
    std::vector<double> centre(dimensions);
    for (size_t i = 0; i < dimensions; ++i) {
      for (size_t c = 0; c < dimensions; ++c) centre[i] += corners[c].at[i];
      centre[i] /= static_cast<double>(dimensions);
    }
    Corner& worst = corners.back();
    const auto along = [&](double by) {
      std::vector<double> at(dimensions);
      for (size_t i = 0; i < dimensions; ++i) at[i] = centre[i] + by * (worst.at[i] - centre[i]);
      return corner_at(std::move(at));
    };
    Corner reflected = along(-1);
    if (reflected.value < corners.front().value) {
      Corner expanded = along(-2);
      worst = expanded.value < reflected.value ? std::move(expanded) : std::move(reflected);
      continue;
    }
    if (reflected.value < corners[dimensions - 1].value) {
      worst = std::move(reflected);
      continue;
    }
    Corner contracted = along(reflected.value < worst.value ? -0.5 : 0.5);
    if (contracted.value < std::min(reflected.value, worst.value)) {
      worst = std::move(contracted);
      continue;
    }
    for (size_t c = 1; c <= dimensions; ++c) {
      std::vector<double> at(dimensions);
      for (size_t i = 0; i < dimensions; ++i) {
        at[i] = corners[0].at[i] + 0.5 * (corners[c].at[i] - corners[0].at[i]);
      }
      corners[c] = corner_at(std::move(at));
    }
  }
  const auto least =
      std::min_element(corners.begin(), corners.end(),
                       [](const Corner& a, const Corner& b) { return a.value < b.value; });
  return {least->at, least->value, evaluations};
}

}  // namespace copykv::bench
