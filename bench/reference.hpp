// SPDX-License-Identifier: Apache-2.0
// Published figures that copykv is compared with, compiled in: bench/reference/*.json.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace copykv::bench {

/// One measurement of the published two ranks.
struct ReferenceRow {
  uint32_t clients = 0;  ///< per rank
  double rtt_p50_us = 0;
  double rtt_mean_us = 0;
  double total_per_s = 0;
  double remote_per_rank_per_s = 0;
};

/// Round-trip times of one rank, on both sides of their valley.
struct ReferenceHistogram {
  uint32_t clients = 0;
  uint64_t valley_ns = 0;
  double fast_weight = 0;
  double fast_mean_us = 0;
  double slow_mean_us = 0;
  double fast_mode_us = 0;  ///< middle of the highest bucket
  double slow_mode_us = 0;
};

struct ReferenceNodes {
  uint32_t nodes = 0;
  std::map<std::string, double> ops_per_s{};  ///< by design

  [[nodiscard]] double best() const;
  /// That flushes once per turn.
  [[nodiscard]] double loop() const { return ops_per_s.at("no_hold"); }
};

struct Reference {
  std::vector<ReferenceRow> rows{};
  uint32_t one_rank_clients = 0;
  double one_rank_per_s = 0;
  ReferenceHistogram histogram{};
  std::vector<ReferenceNodes> nodes{};  ///< of kReferenceNodeClients clients each
};
inline constexpr uint32_t kReferenceNodeClients = 46;

[[nodiscard]] const Reference& dc_two_ranks();
/// The document itself.
[[nodiscard]] const char* dc_two_ranks_text();

}  // namespace copykv::bench
