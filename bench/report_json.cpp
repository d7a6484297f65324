// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "bench/confidence.hpp"
#include "bench/report.hpp"

namespace copykv::bench {
namespace {

constexpr int kSchema = 1;
constexpr std::array<const char*, kPhaseCount> kPhaseNames = {"completions", "inbound",
                                                              "ground_queue", "flush"};

Json config_of(const RunOptions& options) {
  Json config = Json::object();
  for (const Settings::Effective& setting : options.effective) {
    config[setting.key] = Json::parse(setting.json);
  }
  return config;
}

Json host_of(const Host& host) {
  return {{"cpu", host.cpu},
          {"cores", host.cores},
          {"kernel", host.kernel},
          {"commit", host.commit},
          {"compiler", host.compiler},
          {"build_type", host.build_type},
          {"transport", host.transport},
          {"simulated", host.simulated},
          {"clock", host.clock}};
}

Json profile_json(const sim::Profile& profile) {
  Json out = {{"name", profile.name}, {"what", profile.what}};
  for (const auto& [name, value] : sim::numbers_of(profile)) out[name] = value;
  return out;
}

Json line_rtt_of(const Report& report) {
  Json line = {{"before", report.line_rtt_before.p50_ns},
               {"after", report.line_rtt_after.p50_ns},
               {"two_cores", report.line_rtt_before.two_cores}};
  if (!report.line_rtt_note().empty()) line["note"] = report.line_rtt_note();
  return line;
}

Json errors_of(const Measurement& measured) {
  Json errors = {{"total", measured.errors_total()}};
  for (uint8_t status = 0; status < kStatusCount; ++status) {
    if (measured.errors[status] == 0) continue;
    errors[std::string(to_string(static_cast<Status>(status)))] = measured.errors[status];
  }
  return errors;
}

Json latencies_of(const Latencies& latencies, bool with_buckets) {
  Json out = {{"all", to_json(latencies.all(), with_buckets)}};
  for (size_t i = 0; i < kSeriesCount; ++i) {
    out[std::string(kSeriesNames[i])] = to_json(latencies.series[i], with_buckets);
  }
  return out;
}

double per_second(uint64_t count, const Measurement& measured) {
  const double seconds = measured.seconds();
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

// With one rank nothing is called: the fields are there, and empty.
Json copyrpc_of(const RunResult& run, bool with_buckets) {
  const Traffic traffic = traffic_of(run.daemons);
  const uint64_t remote = run.measured.service.of(Series::get_remote).count() +
                          run.measured.service.of(Series::put_remote).count();
  const auto ranks = static_cast<double>(std::max<size_t>(1, run.ranks.size()));
  Json mean = nullptr;
  if (traffic.batches > 0) mean = traffic.messages_per_batch();
  return {{"rtt_ns", to_json(traffic.rtt, with_buckets)},
          {"remote_ops_per_second_per_rank", per_second(remote, run.measured) / ranks},
          {"messages_per_batch_mean", mean},
          {"batches_per_second", per_second(traffic.batches, run.measured)}};
}

Json ranks_of(const RunResult& run) {
  Json ranks = Json::array();
  for (const RankShare& share : run.ranks) {
    ranks.push_back({{"rank", share.rank},
                     {"operations", share.operations},
                     {"ops_per_second", share.ops_per_second}});
  }
  return ranks;
}

Json balance_json(const RunResult& run) {
  const RankBalance balance = balance_of(run.ranks);
  return {{"ops_per_second_min", balance.slowest_ops_per_second},
          {"ops_per_second_max", balance.fastest_ops_per_second},
          {"min_over_max", balance.ratio()}};
}

Json daemon_of(const DaemonSample& sample, bool with_buckets) {
  Json phases = Json::object();
  for (uint32_t phase = 0; phase < kPhaseCount; ++phase) {
    phases[kPhaseNames[phase]] = to_json(sample.phases[phase], with_buckets);
  }
  return {{"rank", sample.rank},
          {"daemon", sample.daemon},
          {"turns", sample.turns},
          {"busy_fraction", sample.per_turn(sample.busy_turns)},
          {"ground_queue_mean", sample.ground_queue_mean()},
          {"phase_ns", std::move(phases)},
          {"per_turn",
           {{"requests", sample.per_turn(sample.requests)},
            {"local", sample.per_turn(sample.requests - sample.remote_calls)},
            {"remote", sample.per_turn(sample.remote_calls)},
            {"answers", sample.per_turn(sample.remote_answers)},
            {"inbound", sample.per_turn(sample.inbound_requests)},
            {"flushes", sample.per_turn(sample.batches_sent)},
            {"ring_full", sample.per_turn(sample.ring_full)}}}};
}

Json wrong_of(const WrongValue& wrong) {
  std::string hex;
  for (const char byte : wrong.value_start) {
    hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  }
  return {{"client", wrong.client},
          {"key", wrong.key},
          {"value_bytes", wrong.value_bytes},
          {"value_start_hex", hex}};
}

Json interval_of(const MedianInterval& interval) {
  return {{"median", interval.median},
          {"low", interval.low},
          {"high", interval.high},
          {"coverage", interval.coverage}};
}

// [[second after the start of each rank, operations per second], ...]
Json time_series_of(const Measurement& measured) {
  Json rows = Json::array();
  const uint64_t lasted_ns = measured.end_ns - std::min(measured.start_ns, measured.end_ns);
  for (const RateOverTime::Slice& slice : measured.over_time.slices(lasted_ns)) {
    rows.push_back(Json::array({slice.middle_s, slice.per_second}));
  }
  return rows;
}

Json run_of(const RunResult& run, const RunOptions& options) {
  const Measurement& m = run.measured;
  const LittlesLaw law = m.littles_law();
  const bool open = options.arrival != Arrival::closed;
  const bool buckets = options.histograms;
  Json daemons = Json::array();
  for (const DaemonSample& sample : run.daemons) daemons.push_back(daemon_of(sample, buckets));
  Json out = {
      {"seconds", m.seconds()},
      {"operations", m.operations},
      {"ops_per_second", m.ops_per_second()},
      {"ranks_reporting", run.ranks.size()},
      {"clients_reporting", m.client_operations.size()},
      {"operations_by_client", m.client_operations},
      {"answers_per_look",
       m.rounds > 0 ? static_cast<double>(m.operations) / static_cast<double>(m.rounds) : 0},
      {"errors", errors_of(m)},
      {"reads_verified", m.reads_verified},
      {"wrong_values", m.wrong_values},
      {"interrupted", m.interrupted},
      {"failures", run.failures},
      {"warnings", run.warnings},
      {"latency_ns", latencies_of(m.service, buckets)},
      {"response_ns", open ? latencies_of(m.response, buckets) : Json(nullptr)},
      {"p50_interval_ns", interval_of(median_of_histogram(m.service.all()))},
      {"unsent", m.unsent},
      {"littles_law",
       {{"in_flight_mean", law.in_flight_mean},
        {"throughput_per_second", law.throughput_per_second},
        {"latency_mean_ns", law.latency_mean_ns},
        {"residual", law.residual}}},
      {"ranks", ranks_of(run)},
      {"rank_balance", balance_json(run)},
      {"time_series", time_series_of(m)},
      {"copyrpc", copyrpc_of(run, buckets)},
      {"daemons", std::move(daemons)}};
  if (run.stations != nullptr) {
    out["stations"] = stations_json(run, buckets);
    out["resources"] = resources_json(run);
  }
  if (run.real_stations != nullptr) {
    out["stations"] = real_stations_json(run, options.stations, buckets);
  }
  if (m.first_wrong) out["first_wrong_value"] = wrong_of(*m.first_wrong);
  return out;
}

Json summary_of(const Report& report) {
  std::vector<double> rates;
  std::vector<double> p50s;
  for (const RunResult& run : report.runs) {
    if (run.measured.operations == 0) continue;
    rates.push_back(run.measured.ops_per_second());
    p50s.push_back(static_cast<double>(run.measured.service.all().percentile_ns(50)));
  }
  return {{"method", kIntervalMethod},
          {"ops_per_second", interval_of(median_of_runs(std::move(rates)))},
          {"p50_ns", interval_of(median_of_runs(std::move(p50s)))}};
}

}  // namespace

Json to_json(const Histogram& histogram, bool with_buckets) {
  Json out = {{"count", histogram.count()},         {"mean", histogram.mean_ns()},
              {"p50", histogram.percentile_ns(50)}, {"p90", histogram.percentile_ns(90)},
              {"p99", histogram.percentile_ns(99)}, {"p999", histogram.percentile_ns(99.9)},
              {"max", histogram.max_ns()}};
  if (!with_buckets) return out;
  Json buckets = Json::array();
  histogram.for_each_bucket([&](uint64_t upper_ns, uint64_t times) {
    buckets.push_back(Json::array({upper_ns, times}));
  });
  out["buckets"] = std::move(buckets);
  return out;
}

Json to_json(const Report& report) {
  Json runs = Json::array();
  for (const RunResult& run : report.runs) runs.push_back(run_of(run, report.options));
  Json slos = Json::array();
  for (const SloVerdict& slo : report.slos) {
    slos.push_back(
        {{"slo", slo.text}, {"met", slo.met}, {"limit", slo.limit}, {"measured", slo.measured}});
  }
  Json host = host_of(report.host);
  if (report.profile) host["profile"] = profile_json(*report.profile);
  return {{"schema", kSchema},
          {"config", config_of(report.options)},
          {"host", std::move(host)},
          {"line_rtt_ns", line_rtt_of(report)},
          {"runs", std::move(runs)},
          {"summary", summary_of(report)},
          {"slos", std::move(slos)},
          {"interrupted", report.interrupted},
          {"exit_code", static_cast<int>(report.exit_code())}};
}

Outcome<void> write_text(const std::string& path, const std::string& text) {
  FILE* const file = path == "-" ? stdout : std::fopen(path.c_str(), "w");
  if (file == nullptr) {
    return Failure{fmt::format("cannot write {}: {}", path, std::strerror(errno))};
  }
  bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  written = (file == stdout ? std::fflush(file) : std::fclose(file)) == 0 && written;
  if (written) return {};
  return Failure{fmt::format("cannot write {}: {}", path, std::strerror(errno))};
}

}  // namespace copykv::bench
