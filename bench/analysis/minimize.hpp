// SPDX-License-Identifier: Apache-2.0
// The lowest point near a start, without derivatives: the simplex of Nelder & Mead, "A Simplex
// Method for Function Minimization", Computer Journal 7(4), 1965. For two or three parameters.
#pragma once

#include <functional>
#include <span>
#include <vector>

namespace copykv::bench::analysis {

struct Minimum {
  std::vector<double> at{};
  double value = 0;
};

/// `start` is one corner of the first simplex, the others are `step` away along each axis. It starts
/// over from where it ended, with a new simplex: a flat one can stop short of the minimum.
[[nodiscard]] Minimum minimize(const std::function<double(std::span<const double>)>& cost,
                               std::vector<double> start, double step = 0.3);

}  // namespace copykv::bench::analysis
