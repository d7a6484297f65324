// SPDX-License-Identifier: Apache-2.0
// Whether one set of runs tends to give larger figures than another: the U test of Mann & Whitney,
// "On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other",
// Annals of Mathematical Statistics 18(1), 1947. No assumption on the shape; ties share ranks.
#pragma once

#include <span>

namespace copykv::bench::analysis {

struct RankTest {
  double u = 0;        ///< pairs in which the second exceeds the first; ties count half
  double p_value = 1;  ///< two-sided
  double p_least = 1;  ///< the smallest p that so many samples can give at all
  bool exact = false;  ///< all divisions of the samples were counted (up to 16 samples); else the
                       ///< normal approximation, corrected for ties and continuity
};

[[nodiscard]] RankTest mann_whitney(std::span<const double> first, std::span<const double> second);

}  // namespace copykv::bench::analysis
