// SPDX-License-Identifier: Apache-2.0
// Service level objectives: `get.p99<50us`, `all.max<=2ms`, `put.mean<800ns`, `all.ops>1M`.
//
//   SERIES.METRIC OP LIMIT
//   SERIES  get | put | all
//   METRIC  p50 p90 p99 p999 max mean (durations; a bare number counts nanoseconds) or
//           ops (per second; k, M, G are powers of 1,000)
//   OP      < <= > >=
//
// In an open loop durations are response times, what a caller would have seen; in a closed loop
// service times. Runs are judged together: counts added, seconds added.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "bench/measure.hpp"

namespace copykv::bench {

struct Slo {
  enum class Series : uint8_t { all, get, put };
  enum class Metric : uint8_t { p50, p90, p99, p999, max, mean, ops };
  enum class Relation : uint8_t { less, less_equal, greater, greater_equal };

  std::string text{};
  Series series = Series::all;
  Metric metric = Metric::p50;
  Relation relation = Relation::less;
  double limit = 0;  ///< ns, or operations per second

  [[nodiscard]] static Outcome<Slo> parse(std::string_view text);
};

struct SloVerdict {
  std::string text{};  ///< as it was asked for
  bool met = false;
  double limit = 0;
  double measured = 0;  ///< same unit as the limit; 0 when nothing was counted (then not met)
  std::string line{};   ///< "get.p99<50us missed: 61.4 us, 22.8 % over"
};

[[nodiscard]] std::vector<SloVerdict> judge(std::span<const Slo> slos,
                                            std::span<const Measurement> runs);

}  // namespace copykv::bench
