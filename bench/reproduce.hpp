// SPDX-License-Identifier: Apache-2.0
// The points of `benchkv reproduce rtt-littles-law`: which runs, in which groups, under which
// conditions. What they are for is told by the analysis (docs/research/littles-law.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/options.hpp"

namespace copykv::bench {

/// One setting, run several times with different seeds.
struct Experiment {
  std::string group{};
  std::string label{};      ///< of its group, for tables
  std::string reference{};  ///< what it is compared with; empty: nothing
  RunOptions options{};
};

struct ReproduceOptions {
  std::string transport = "sim";  ///< beside the simulated runs; sim: nothing
  std::string profile = "published-dc";
  std::string own_profile = "copykv-dc";  ///< with the costs of copykv's own code
  uint32_t runs = 6;
  uint64_t seed = 1;
  double scale = 1;                   ///< of virtual durations
  double real_seconds = 2;            ///< of a run over a real transport
  uint64_t skew_permille = 60;        ///< of the published runs, as fitted
  std::vector<std::string> groups{};  ///< only these; empty: all
};

/// The groups, in the order in which they are shown.
[[nodiscard]] const std::vector<std::pair<std::string, std::string>>& reproduce_groups();
[[nodiscard]] std::vector<Experiment> experiments_of(const ReproduceOptions& options);

}  // namespace copykv::bench
