// SPDX-License-Identifier: Apache-2.0
// How large a job must be for a target: a fitted model turned round. Ranks are taken to be alike
// and independent, as the measured ones were; what one rank can do is never taken from beyond twice
// the measured number of customers.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "bench/analysis/model_report.hpp"

namespace copykv::bench::analysis {

struct Target {
  double rate_per_s = 0;  ///< of all ranks
  double p99_s = 0;       ///< 0: any
  uint64_t items = 0;     ///< of all ranks
  uint64_t item_bytes = 16;
};

struct Plan {
  uint32_t ranks = 0;
  uint32_t daemons_per_rank = 1;
  uint32_t clients_per_rank = 0;
  uint32_t depth = 1;
  uint64_t memory_per_rank_bytes = 0;
  double rate_per_s = 0;   ///< of all ranks, by the model
  double response_s = 0;   ///< mean
  double p99_s = 0;        ///< mean times p99 / mean as measured at the nearest load
  double utilisation = 0;  ///< rate in parts of what the model says a rank can do
  std::string model{};
  double held_out_rms = kUnknown;
};

/// The smallest number of ranks; with it the fewest clients. The error says which target cannot be
/// met and what the model's best is.
[[nodiscard]] Outcome<Plan> plan(const Series& series, const ModelReport& report,
                                 const Target& target);

}  // namespace copykv::bench::analysis
