// SPDX-License-Identifier: Apache-2.0
// What came out of one run: of one rank, or of all ranks that reported, added up.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/daemon_sample.hpp"
#include "bench/measure.hpp"
#include "bench/options.hpp"
#include "bench/stations.hpp"
#include "sim/stations.hpp"

namespace copykv::bench {

/// What the clients of one rank did.
struct RankShare {
  uint32_t rank = 0;
  uint64_t operations = 0;
  double ops_per_second = 0;
};

/// How evenly the ranks came along.
struct RankBalance {
  double slowest_ops_per_second = 0;
  double fastest_ops_per_second = 0;
  /// slowest / fastest; 1 when nobody did anything, which is even.
  [[nodiscard]] double ratio() const noexcept {
    return fastest_ops_per_second > 0 ? slowest_ops_per_second / fastest_ops_per_second : 1;
  }
};
[[nodiscard]] RankBalance balance_of(const std::vector<RankShare>& ranks) noexcept;

struct RunResult {
  Measurement measured{};
  std::vector<DaemonSample> daemons{};
  std::vector<RankShare> ranks{};       ///< that reported
  std::vector<std::string> failures{};  ///< empty: the run counts
  std::vector<std::string> warnings{};
  std::shared_ptr<const sim::StationReport> stations{};  ///< of a simulated run
  StationSamples samples{};  ///< of a real run with stations, until they are added up
  std::shared_ptr<const RealStationReport> real_stations{};
  bool may_go_on = true;  ///< false: clients have died or lost the daemon

  /// Adds another rank of the same run.
  RunResult& operator+=(const RunResult& other);
};

/// For the way from a rank to the one that reports. decode fails on a cut text.
[[nodiscard]] std::string encode(const RunResult& result);
[[nodiscard]] std::optional<RunResult> decode_result(std::string_view bytes);

/// What makes a run fail or suspicious, beyond what its clients said themselves.
void judge_run(const RunOptions& options, RunResult& run);

}  // namespace copykv::bench
