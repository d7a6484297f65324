// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/counters.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>

#include <nlohmann/json.hpp>

#include "shm/slot.hpp"

namespace copykv::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kPhaseNames[kPhaseCount] = {"completions", "inbound", "ground_queue",
                                                       "flush"};

uint64_t total(const PhaseHistogram& histogram) noexcept {
  uint64_t count = 0;
  for (const uint64_t in_bucket : histogram.counts) count += in_bucket;
  return count;
}

Json to_json(const PhaseHistogram& histogram) {
  const uint64_t count = total(histogram);
  const double mean =
      count == 0 ? 0 : static_cast<double>(histogram.sum_ns) / static_cast<double>(count);
  return {{"count", count},
          {"mean", mean},
          {"p50", percentile_ns(histogram, 50)},
          {"p90", percentile_ns(histogram, 90)},
          {"p99", percentile_ns(histogram, 99)},
          {"p999", percentile_ns(histogram, 99.9)},
          {"max", histogram.max_ns}};
}

Json to_json(const DaemonBlock& block, uint32_t daemon) {
  Json ops = Json::object();
  for (uint32_t op = kOpFirst; op <= kOpLast; ++op) ops[op_name(op)] = block.by_op[op];
  Json statuses = Json::object();
  for (uint8_t status = 0; status < kStatusCount; ++status) {
    statuses[to_string(static_cast<Status>(status))] = block.by_status[status];
  }
  Json phases = Json::object();
  for (uint32_t phase = 0; phase < kPhaseCount; ++phase) {
    phases[kPhaseNames[phase]] = to_json(block.phases[phase]);
  }
  return {{"daemon", daemon},
          {"sleeping", block.sleeping != 0},
          {"turns", block.turns},
          {"busy_turns", block.busy_turns},
          {"busy_fraction", fraction(block.busy_turns, block.turns)},
          {"longest_turn_ns", block.longest_turn_ns},
          {"requests", block.requests},
          {"groups", block.groups},
          {"by_op", ops},
          {"by_status", statuses},
          {"bad_sequences", block.bad_sequences},
          {"deferred", block.deferred},
          {"transfers", block.transfers},
          {"transfer_bytes", block.transfer_bytes},
          {"wakes_sent", block.wakes_sent},
          {"sleeps", block.sleeps},
          {"remote_calls", block.remote_calls},
          {"remote_answers", block.remote_answers},
          {"inbound_requests", block.inbound_requests},
          {"messages_sent", block.messages_sent},
          {"batches_sent", block.batches_sent},
          {"batches_received", block.batches_received},
          {"ring_full", block.ring_full},
          {"peers_up", block.peers_up},
          {"peers_failed", block.peers_failed},
          {"peer_violations", block.peer_violations},
          {"rtt_ns", to_json(block.rtt_ns)},
          {"lanes", block.lanes},
          {"lanes_parked", block.lanes_parked},
          {"ground_queue_mean", fraction(block.ground_queue_sum, block.sampled_turns)},
          {"items", block.items},
          {"item_bytes_used", block.item_bytes_used},
          {"index_bytes", block.index_bytes},
          {"populated_bytes", block.populated_bytes},
          {"budget_bytes", block.budget_bytes},
          {"expired", block.expired},
          {"chain_full", block.chain_full},
          {"turn_ns", to_json(block.turn_ns)},
          {"phase_ns", phases}};
}

}  // namespace

uint64_t unix_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

std::string_view op_name(uint32_t op) noexcept {
  constexpr std::string_view kNames[kOpLast + 1] = {"",    "get",   "put",  "del", "exists",
                                                    "add", "touch", "keys", "ping"};
  return op <= kOpLast ? kNames[op] : std::string_view();
}

uint64_t percentile_ns(const PhaseHistogram& histogram, double percent) noexcept {
  const auto wanted =
      static_cast<uint64_t>(std::ceil(static_cast<double>(total(histogram)) * percent / 100));
  uint64_t seen = 0;
  for (uint32_t bucket = 0; bucket < PhaseHistogram::kBuckets; ++bucket) {
    seen += histogram.counts[bucket];
    if (seen >= wanted && seen > 0) {
      return std::min(PhaseHistogram::upper_ns(bucket), histogram.max_ns);
    }
  }
  return 0;
}

double fraction(uint64_t part, uint64_t whole) noexcept {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

Json to_json(const Snapshot& snapshot, std::string_view job, const RankInfo& info,
             uint64_t now_unix_ms) {
  const RankHeader& header = *snapshot.header;
  Json daemons = Json::array();
  for (uint32_t daemon = 0; daemon < snapshot.daemons.size(); ++daemon) {
    daemons.push_back(to_json(snapshot.daemons[daemon], daemon));
  }
  const uint64_t started = std::min(header.started_unix_ms, now_unix_ms);
  return {{"schema", 1},
          {"job", job},
          {"rank", header.rank},
          {"rank_count", header.rank_count},
          {"pid", info.pid},
          {"socket", info.socket},
          {"epoch", header.epoch},
          {"started_unix_ms", header.started_unix_ms},
          {"uptime_seconds", static_cast<double>(now_unix_ms - started) / 1000},
          {"value_bytes_max", header.value_bytes_max},
          {"memory_budget_bytes", header.memory_budget_bytes},
          {"clients_attached", header.clients_attached},
          {"attaches", header.attaches},
          {"attaches_refused", header.attaches_refused},
          {"clients_gone", header.clients_gone},
          {"bulk_bytes_granted", header.bulk_bytes_granted},
          {"routing_epoch", header.routing_epoch},
          {"daemons", daemons}};
}

}  // namespace copykv::tools
