// SPDX-License-Identifier: Apache-2.0
// What the models say about a measured series: each fitted, judged on the points it has not seen,
// and ranked; the knee; and which station is saturated, if that can be said.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/analysis/closed_models.hpp"
#include "bench/analysis/documents.hpp"

namespace copykv::bench::analysis {

struct HeldOut {
  double customers = 0;
  double error = kUnknown;  ///< predicted / measured - 1, fitted to all other points
};

struct Judged {
  Model model{};  ///< fitted to all points
  std::vector<HeldOut> held_out{};
  double held_out_rms = kUnknown;      ///< unknown: too few points to hold any out
  std::vector<Estimate> parameters{};  ///< range over the fits that each left one point out
};

/// One station by the utilisation law, and what halving its demand alone would give.
struct StationVerdict {
  std::string name{};
  double utilisation = 0;
  double demand_s = 0;        ///< D = U / X
  double gain_if_halved = 0;  ///< of the rate at most customers, by mean value analysis
};

/// A real run with that station made cheaper, against the series itself.
struct WhatIf {
  std::string station{};
  double gain = 0;
};

struct Saturation {
  std::vector<StationVerdict> stations{};  ///< the busiest first
  std::string named{};                     ///< empty: it cannot be said
  std::string why{};
};

struct ModelReport {
  std::vector<LoadPoint> points{};  ///< per rank
  std::vector<Judged> ranked{};     ///< best on held-out points first
  double cycle_alone_s = 0;         ///< R1 + Z, of the smallest load
  double knee = 0;                  ///< N* = X_max (R1 + Z)
  bool knee_measured = false;  ///< some point lies beyond it; else X_max is only the fastest seen
  Saturation saturation{};

  [[nodiscard]] double customers_max() const;
};

inline constexpr double kBusyNamed = 0.8;       ///< utilisation from which a station is saturated
inline constexpr double kGainNamed = 0.1;       ///< what a what-if must bring, in parts of the rate
inline constexpr double kExtrapolationMax = 2;  ///< times the largest measured load

/// Median rate of each point of the series, per rank.
[[nodiscard]] std::vector<LoadPoint> load_points(const Series& series);

/// Fits, leaves one out, ranks. Models with fewer points than parameters are left out.
[[nodiscard]] std::vector<Judged> judge_models(const std::vector<LoadPoint>& points);

/// Names a station only when it is the busiest (utilisation law), the model says that halving it
/// brings most and more than a little, and no real what-if run contradicts.
[[nodiscard]] Saturation find_saturation(const std::vector<Named>& busy, LoadPoint at,
                                         double cycle_alone_s,
                                         const std::optional<WhatIf>& what_if);

[[nodiscard]] ModelReport explain(const Series& series, const std::optional<WhatIf>& what_if);

/// For a terminal.
[[nodiscard]] std::string to_text(const Series& series, const ModelReport& report);

}  // namespace copykv::bench::analysis
