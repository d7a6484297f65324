// SPDX-License-Identifier: Apache-2.0
// Whether a histogram has one peak or two, and where: maximum likelihood by expectation and
// maximisation (Dempster, Laird & Rubin 1977) with one and with two components, compared by BIC
// (Schwarz 1978). Components are normal, of the latency or of its logarithm: what fits better.
//
// With millions of operations BIC prefers two components for any shape that is not exactly a bell,
// so two *peaks* are claimed only where the components are also apart (Ashman's D above 2: Ashman,
// Bird & Zepf 1994) and the smaller one holds 2 % or more.
#pragma once

#include <span>
#include <vector>

namespace copykv::bench::analysis {

/// Operations with a latency between `low_ns` and `high_ns`.
struct Bin {
  double low_ns = 0;
  double high_ns = 0;
  double count = 0;
};

struct Component {
  double weight = 0;
  double centre = 0;  ///< ns, or its logarithm
  double width = 0;   ///< standard deviation, same unit
};

struct Mixture {
  bool logarithmic = false;
  std::vector<Component> components{};  ///< from left to right
  double log_likelihood = 0;
  double bic = 0;

  /// The most likely latency of a component, ns.
  [[nodiscard]] double peak_ns(const Component& component) const;
  /// Per ns.
  [[nodiscard]] double density(const Component& component, double at_ns) const;
};

struct PeakAnalysis {
  Mixture one{};
  Mixture two{};
  double ashman_d = 0;
  bool two_peaks = false;
};

/// Bins without a count do no harm; fewer than three bins with one give no components.
[[nodiscard]] PeakAnalysis find_peaks(std::span<const Bin> bins);

}  // namespace copykv::bench::analysis
