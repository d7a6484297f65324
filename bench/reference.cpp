// SPDX-License-Identifier: Apache-2.0
#include "bench/reference.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace copykv::bench {

extern const char* const kDcTwoRanksText;  // reference/dc-two-ranks.json, compiled in

namespace {

ReferenceHistogram read_histogram(const nlohmann::json& from) {
  ReferenceHistogram to;
  to.clients = from.at("clients");
  const auto valley_us = from.at("valley_us").get<uint64_t>();
  to.valley_ns = valley_us * 1'000;
  double counts[2] = {};
  double sums_us[2] = {};
  double highest[2] = {};
  double modes_us[2] = {};
  for (const auto& bucket : from.at("buckets")) {
    const auto low_us = bucket.at(0).get<uint64_t>();
    const auto count = bucket.at(1).get<double>();
    const double middle_us = static_cast<double>(low_us) + 0.5;
    const size_t side = low_us < valley_us ? 0 : 1;
    counts[side] += count;
    sums_us[side] += count * middle_us;
    if (count > highest[side]) {
      highest[side] = count;
      modes_us[side] = middle_us;
    }
  }
  to.fast_weight = counts[0] / (counts[0] + counts[1]);
  to.fast_mean_us = sums_us[0] / counts[0];
  to.slow_mean_us = sums_us[1] / counts[1];
  to.fast_mode_us = modes_us[0];
  to.slow_mode_us = modes_us[1];
  return to;
}

Reference read() {
  const auto document = nlohmann::json::parse(kDcTwoRanksText);
  Reference to;
  for (const auto& row : document.at("rows")) {
    to.rows.push_back({row.at("clients"), row.at("rtt_p50_us"), row.at("rtt_mean_us"),
                       row.at("total_ops_per_s"), row.at("remote_per_rank_per_s")});
  }
  to.one_rank_clients = document.at("one_rank").at("clients");
  to.one_rank_per_s = document.at("one_rank").at("total_ops_per_s");
  to.histogram = read_histogram(document.at("rtt_histogram"));
  for (const auto& nodes : document.at("nodes_of_46_clients")) {
    to.nodes.push_back({nodes.at("nodes"), nodes.at("ops_per_s")});
  }
  return to;
}

}  // namespace

double ReferenceNodes::best() const {
  double most = 0;
  for (const auto& [design, rate] : ops_per_s) most = std::max(most, rate);
  return most;
}

const Reference& dc_two_ranks() {
  static const Reference reference = read();
  return reference;
}

const char* dc_two_ranks_text() {
  return kDcTwoRanksText;
}

}  // namespace copykv::bench
