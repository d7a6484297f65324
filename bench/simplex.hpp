// SPDX-License-Identifier: Apache-2.0
// Least of a function of a few bounded numbers, without derivatives (Nelder, Mead 1965).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace copykv::bench {

struct Bound {
  double low;
  double high;
};

struct Least {
  std::vector<double> at{};
  double value = 0;
  uint32_t evaluations = 0;
};

/// Begins at `start` with steps of `step` of each range; what would leave its bounds stays on them.
[[nodiscard]] Least find_least(const std::function<double(const std::vector<double>&)>& function,
                               const std::vector<double>& start, const std::vector<Bound>& bounds,
                               double step, uint32_t evaluations_max);

}  // namespace copykv::bench
