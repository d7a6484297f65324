// SPDX-License-Identifier: Apache-2.0
#include "bench/fit.hpp"

#include <fmt/format.h>

#include <cmath>

#include "bench/sim_point.hpp"

namespace copykv::bench {
namespace {

constexpr double kRelative = 0.1;
constexpr double kWeightScale = 0.1;
constexpr double kPeakScaleUs = 1;
constexpr double kImpossible = 1e6;

// What the published processor does, by its own figures: 27 ns for a turn that finds nothing, and
// up to 100 ns for one that posts.
const std::vector<std::pair<std::string, uint64_t>> kProcessor = {
    {"turn_ns", 27},    {"item_ns", 0},    {"post_ns", 60},        {"line_ns", 60},
    {"lane_ns", 0},     {"jitter_ns", 0},  {"picos_per_byte", 20}, {"done_delay_ns", 1600},
    {"send_queues", 1}, {"receive_ns", 0}, {"nic_request_ns", 0},  {"nic_picos_per_byte", 0},
    {"arrival_ns", 0},
};

Turned turn(std::vector<std::string> names, double low, double start, double high) {
  return {std::move(names), {low, high}, start};
}

Rival make(std::string name, std::string what, Turned bottleneck) {
  const std::vector<std::string> remote = {"call_ns", "inbound_ns", "answer_ns"};
  Rival rival{std::move(name), std::move(what), {}, kProcessor};
  const bool is_processor = bottleneck.names == remote;
  rival.turned = {std::move(bottleneck), turn({"latency_ns"}, 200, 1400, 2500),
                  turn({"client_ns"}, 0, 130, 500), turn({"local_ns"}, 20, 61, 100),
                  turn({}, 0, 90, 250)};
  if (!is_processor) rival.turned.push_back(turn(remote, 10, 70, 150));
  return rival;
}

RunOptions load_of(uint32_t ranks, uint32_t clients, const FitOptions& options) {
  RunOptions load;
  load.ranks = ranks;
  load.client_threads = clients;
  load.transport = "sim";
  load.flush = "loop";
  load.duration_ns = options.duration_ns;
  load.warmup_ns = options.duration_ns / 20;
  load.seed = options.seed;
  load.quiet = true;
  return load;
}

Outcome<RunResult> simulate(RunOptions load, const sim::Profile& profile) {
  if (const auto completed = complete(load); !completed) return Failure{completed.error};
  auto report = simulate_point(load, profile);
  if (!report) return Failure{report.error};
  if (report->runs.empty() || !report->runs.back().failures.empty()) {
    return Failure{report->runs.empty() ? "a simulated run was cut off"
                                        : report->runs.back().failures.front()};
  }
  return std::move(report->runs.back());
}

/// Rates of each rank while its own clients run, which is what the published ones are.
double total_of(const RunResult& run) {
  double total = 0;
  for (const RankShare& share : run.ranks) total += share.ops_per_second;
  return total;
}

double remote_share(const RunResult& run) {
  const Latencies& service = run.measured.service;
  const uint64_t remote =
      service.of(Series::get_remote).count() + service.of(Series::put_remote).count();
  return static_cast<double>(remote) / static_cast<double>(run.measured.operations);
}

void add_histogram(std::vector<Observation>& to, const ReferenceHistogram& reference,
                   const Histogram& rtt) {
  double counts[2] = {};
  double sums_us[2] = {};
  rtt.for_each_bucket([&](uint64_t upper_ns, uint64_t times) {
    const size_t side = upper_ns < reference.valley_ns ? 0 : 1;
    counts[side] += static_cast<double>(times);
    sums_us[side] += static_cast<double>(times) * static_cast<double>(upper_ns) / 1e3;
  });
  const auto mean_of = [&](size_t side) {
    return counts[side] > 0 ? sums_us[side] / counts[side] : 0;
  };
  const double all = counts[0] + counts[1];
  to.push_back({"weight of the fast peak", reference.clients, reference.fast_weight,
                all > 0 ? counts[0] / all : 0, kWeightScale});
  to.push_back({"mean of the fast peak, us", reference.clients, reference.fast_mean_us, mean_of(0),
                kPeakScaleUs});
  to.push_back({"mean of the slow peak, us", reference.clients, reference.slow_mean_us, mean_of(1),
                kPeakScaleUs});
}

}  // namespace

const std::vector<Rival>& rivals() {
  static const std::vector<Rival> all = {
      make("send-queue", "one server per send queue: so long per work request",
           turn({"nic_request_ns"}, 50, 500, 900)),
      make("receiver", "one server per receiver: so long per immediate",
           turn({"receive_ns"}, 50, 500, 900)),
      make("bytes", "one server per send queue: so long per byte",
           turn({"nic_picos_per_byte"}, 200, 6'000, 12'000)),
      make("processor", "serial work of the daemon: so long per call, request and answer",
           turn({"call_ns", "inbound_ns", "answer_ns"}, 10, 290, 500)),
  };
  return all;
}

Outcome<Candidate> candidate_of(const Rival& rival, const std::vector<double>& at) {
  Candidate made;
  made.profile.name = rival.name;
  made.profile.what = rival.what;
  for (const auto& [name, value] : rival.fixed) {
    if (auto set = sim::set_number(made.profile, name, value); !set) return Failure{set.error};
  }
  for (size_t i = 0; i < rival.turned.size(); ++i) {
    if (rival.turned[i].names.empty()) made.skew_permille = at[i];
    for (const std::string& name : rival.turned[i].names) {
      const auto value = static_cast<uint64_t>(std::llround(at[i]));
      if (auto set = sim::set_number(made.profile, name, value); !set) return Failure{set.error};
    }
  }
  return made;
}

Outcome<std::vector<Observation>> observe(const Candidate& candidate, const Reference& reference,
                                          uint64_t duration_ns, uint64_t seed, uint32_t held_out) {
  FitOptions options;
  options.duration_ns = duration_ns;
  options.seed = seed;
  std::vector<Observation> to;
  const auto add = [&to](std::string name, uint32_t clients, double published, double simulated) {
    to.push_back({std::move(name), clients, published, simulated, kRelative * published});
  };
  for (const ReferenceRow& row : reference.rows) {
    if (row.clients == held_out) continue;
    RunOptions load = load_of(2, row.clients, options);
    load.start_skew_ns =
        static_cast<uint64_t>(candidate.skew_permille * static_cast<double>(duration_ns) / 1e3);
    const auto run = simulate(load, candidate.profile);
    if (!run) return Failure{run.error};
    const Histogram rtt = traffic_of(run->daemons).rtt;
    const double total = total_of(*run);
    add("round trip p50, us", row.clients, row.rtt_p50_us,
        static_cast<double>(rtt.percentile_ns(50)) / 1e3);
    add("operations, M/s", row.clients, row.total_per_s / 1e6, total / 1e6);
    add("remote per rank, M/s", row.clients, row.remote_per_rank_per_s / 1e6,
        total * remote_share(*run) / 2 / 1e6);
    if (row.clients == reference.histogram.clients) add_histogram(to, reference.histogram, rtt);
  }
  const auto alone = simulate(load_of(1, reference.one_rank_clients, options), candidate.profile);
  if (!alone) return Failure{alone.error};
  add("one rank alone, M/s", 0, reference.one_rank_per_s / 1e6, total_of(*alone) / 1e6);
  return to;
}

Outcome<double> predict_two_nodes(const Candidate& candidate, uint64_t duration_ns, uint64_t seed) {
  FitOptions options;
  options.duration_ns = duration_ns;
  options.seed = seed;
  const auto run = simulate(load_of(2, kReferenceNodeClients, options), candidate.profile);
  if (!run) return Failure{run.error};
  return total_of(*run);
}

double distance_of(const std::vector<Observation>& observations) {
  double sum = 0;
  for (const Observation& observation : observations) {
    sum += observation.distance() * observation.distance();
  }
  return sum;
}

Outcome<Fitted> fit(const Rival& rival, const Reference& reference, const FitOptions& options,
                    uint32_t held_out, const std::vector<double>& start, double step) {
  std::vector<Bound> bounds;
  for (const Turned& turned : rival.turned) bounds.push_back(turned.bound);
  std::string failure;
  const auto distance = [&](const std::vector<double>& at) {
    const auto candidate = candidate_of(rival, at);
    if (!candidate) {
      failure = candidate.error;
      return kImpossible;
    }
    const auto observations =
        observe(*candidate, reference, options.duration_ns, options.seed, held_out);
    if (observations) return distance_of(*observations);
    failure = observations.error;
    return kImpossible;
  };
  const Least least = find_least(distance, start, bounds, step, options.evaluations);
  if (!failure.empty()) return Failure{failure};
  return Fitted{least.at, least.value, least.evaluations};
}

}  // namespace copykv::bench
