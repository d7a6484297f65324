// SPDX-License-Identifier: Apache-2.0
// A simulated point: repeated by its seed, honest with itself, and in all its shapes; the fit of a
// profile finds what was planted.
#include "bench/sim_point.hpp"

#include <cmath>

#include <catch2/catch.hpp>

#include "bench/fit.hpp"
#include "bench/fork_map.hpp"
#include "bench/report.hpp"

namespace copykv::bench {
namespace {

RunOptions small_load() {
  RunOptions options;
  options.transport = "sim";
  options.ranks = 2;
  options.client_threads = 4;
  options.duration_ns = 2 * kNanosPerMilli;
  options.warmup_ns = kNanosPerMilli / 10;
  options.histograms = true;
  return options;
}

Report simulate(RunOptions options) {
  REQUIRE(complete(options));
  const auto profile = profile_of(options);
  REQUIRE(profile);
  auto report = simulate_point(options, *profile);
  INFO(report.error);
  REQUIRE(report);
  return std::move(*report);
}

std::string document(const RunOptions& options) {
  return to_json(simulate(options)).dump();
}

const RunResult& checked(const Report& report) {
  REQUIRE(report.runs.size() == 1);
  const RunResult& run = report.runs.front();
  for (const std::string& line : run.failures) FAIL(line);
  CHECK(run.measured.operations > 100);
  CHECK(run.measured.errors_total() == 0);
  CHECK(run.measured.wrong_values == 0);
  CHECK(run.measured.littles_law().residual < 1e-9);
  CHECK(run.stations->unmatched == 0);
  return run;
}

TEST_CASE("the same options and seed give the same document, another seed another") {
  RunOptions options = small_load();
  options.seed = 7;
  const std::string first = document(options);
  CHECK(document(options) == first);
  options.seed = 8;
  CHECK(document(options) != first);
}

TEST_CASE("a latency is the sum of its stations, to the nanosecond") {
  for (const uint32_t depth : {1U, 8U}) {
    RunOptions options = small_load();
    options.queue_depth = depth;
    const Report report = simulate(options);
    const RunResult& run = checked(report);
    const sim::StationReport& stations = *run.stations;
    const auto sum_of = [](const auto& parts) {
      uint64_t sum_ns = 0;
      for (const Histogram& part : parts) sum_ns += part.sum_ns();
      return sum_ns;
    };
    CHECK(sum_of(stations.remote) == stations.remote_total.sum_ns());
    CHECK(sum_of(stations.local) == stations.local_total.sum_ns());
    const Latencies& service = run.measured.service;
    CHECK(stations.remote_total.sum_ns() ==
          service.of(Series::get_remote).sum_ns() + service.of(Series::put_remote).sum_ns());
    CHECK(stations.remote_total.count() + stations.local_total.count() == run.measured.operations);
  }
}

TEST_CASE("a lone request takes what the profile says") {
  RunOptions options = small_load();
  options.client_threads = 1;
  options.local_ratio = "0";
  options.flush = "loop";
  options.start_skew_ns = 2 * options.duration_ns;  // each rank has the network to itself
  const Report report = simulate(options);
  const sim::StationReport& stations = *checked(report).stations;
  const sim::Profile& profile = *report.profile;
  const auto mean = [&](size_t station) { return stations.remote[station].mean_ns(); };
  CHECK(mean(2) == 0);  // nobody before it in the queue
  CHECK(mean(3) == Approx(double(profile.network.nic_request_ns)));
  CHECK(mean(4) == Approx(double(profile.network.latency_ns)).margin(20));
  CHECK(mean(8) == Approx(double(profile.network.nic_request_ns)));
  CHECK(mean(12) == Approx(double(profile.line_ns)));
}

TEST_CASE("every shape of a load runs under virtual time") {
  const auto with = [](auto&& change) {
    RunOptions options = small_load();
    change(options);
    return options;
  };
  SECTION("one rank") {
    checked(simulate(with([](RunOptions& o) { o.ranks = 1; })));
  }
  SECTION("values that do not travel in rings") {
    checked(simulate(with([](RunOptions& o) {
      o.value_bytes = "8-100000";
      o.key_range = 64;
    })));
  }
  SECTION("read-modify-write") {
    checked(simulate(with([](RunOptions& o) { o.modify = true; })));
  }
  SECTION("an open loop keeps its rate") {
    const Report report = simulate(with([](RunOptions& o) {
      o.arrival = Arrival::poisson;
      o.rate = 1e6;
      o.queue_depth = 8;
      o.duration_ns = 10 * kNanosPerMilli;
    }));
    CHECK(checked(report).measured.ops_per_second() == Approx(1e6).epsilon(0.05));
  }
  SECTION("each flush policy") {
    for (const char* flush : {"loop", "call", "hold:2", "clocked:1"}) {
      checked(simulate(with([&](RunOptions& o) { o.flush = flush; })));
    }
  }
  SECTION("twelve ranks with four send queues each") {
    checked(simulate(with([](RunOptions& o) {
      o.ranks = 12;
      o.sim_send_queues = 4;
    })));
  }
}

TEST_CASE("the default policy costs a lone client nothing, and helps many") {
  const auto rate = [](const char* flush, uint32_t clients) {
    RunOptions options = small_load();
    options.flush = flush;
    options.client_threads = clients;
    return checked(simulate(options)).measured.ops_per_second();
  };
  CHECK(rate("clocked", 1) > 0.95 * rate("loop", 1));
  CHECK(rate("clocked", 16) > 1.5 * rate("loop", 16));
}

TEST_CASE("the least of a bowl is found inside its bounds and on them") {
  const auto bowl = [](const std::vector<double>& at) {
    return (at[0] - 3) * (at[0] - 3) + 4 * (at[1] + 1) * (at[1] + 1);
  };
  const Least inside = find_least(bowl, {0, 0}, {{-10, 10}, {-10, 10}}, 0.1, 300);
  CHECK(inside.at[0] == Approx(3).margin(1e-3));
  CHECK(inside.at[1] == Approx(-1).margin(1e-3));
  const Least bounded = find_least(bowl, {0, 0}, {{-10, 2}, {0, 10}}, 0.1, 300);
  CHECK(bounded.at[0] == Approx(2).margin(1e-2));
  CHECK(bounded.at[1] == Approx(0).margin(1e-2));
}

TEST_CASE("children return what they made, in order, and the first failure names itself") {
  const auto texts = fork_map(5, 2, [](size_t number) { return std::to_string(number * number); });
  REQUIRE(texts);
  CHECK(*texts == std::vector<std::string>{"0", "1", "4", "9", "16"});
  const auto failed = fork_map(3, 3, [](size_t number) -> std::string {
    if (number == 1) throw std::runtime_error("this one cannot");
    return {};
  });
  CHECK_FALSE(failed);
  CHECK(failed.error == "this one cannot");
}

TEST_CASE("simulations in several processes do not meet, also when their parent has made some") {
  RunOptions options = small_load();
  const std::string own = document(options);
  const auto texts = fork_map(6, 3, [&](size_t) { return document(options); });
  REQUIRE(texts);
  for (const std::string& text : *texts) CHECK(text == own);
}

TEST_CASE("published figures are read as they are written") {
  const Reference& reference = dc_two_ranks();
  CHECK(reference.rows.size() == 5);
  CHECK(reference.rows.back().rtt_p50_us == 13.9);
  CHECK(reference.histogram.fast_weight == Approx(0.126).margin(0.001));
  CHECK(reference.histogram.fast_mode_us == 6.5);
  CHECK(reference.histogram.slow_mode_us == 14.5);
  CHECK(reference.nodes.back().best() == 66'470'000);
}

/// What the fit would see if the world were this profile.
Reference planted(const Candidate& truth, uint64_t duration_ns) {
  Reference reference;
  for (const uint32_t clients : {1U, 16U}) reference.rows.push_back({clients, 1, 1, 1, 1});
  reference.one_rank_clients = 16;
  reference.one_rank_per_s = 1;
  const auto seen = observe(truth, reference, duration_ns, 5, 0);
  REQUIRE(seen);
  for (size_t row = 0; row < reference.rows.size(); ++row) {
    reference.rows[row].rtt_p50_us = (*seen)[3 * row].simulated;
    reference.rows[row].total_per_s = (*seen)[3 * row + 1].simulated * 1e6;
    reference.rows[row].remote_per_rank_per_s = (*seen)[3 * row + 2].simulated * 1e6;
  }
  reference.one_rank_per_s = seen->back().simulated * 1e6;
  return reference;
}

TEST_CASE("a fit finds what was planted, and a rival does not") {
  constexpr uint64_t kDurationNs = kNanosPerMilli;
  // Send queue, latency, client, local, skew, work of the daemon.
  const auto truth = candidate_of(rivals().front(), {700, 900, 100, 80, 0, 60});
  REQUIRE(truth);
  const Reference reference = planted(*truth, kDurationNs);
  FitOptions options;
  options.duration_ns = kDurationNs;
  options.evaluations = 60;
  const auto distance_after = [&](const Rival& rival) {
    std::vector<double> start;
    for (const Turned& turned : rival.turned) start.push_back(turned.start);
    start[4] = 0;
    const auto fitted = fit(rival, reference, options, 0, start, 0.15);
    REQUIRE(fitted);
    return *fitted;
  };
  const Fitted found = distance_after(rivals().front());
  CHECK(found.at[0] == Approx(700).epsilon(0.05));
  CHECK(found.at[1] == Approx(900).epsilon(0.1));
  CHECK(found.distance < 0.5);
  const Rival& processor = rivals().back();
  REQUIRE(processor.name == "processor");
  CHECK(distance_after(processor).distance > 4 * found.distance);
}

}  // namespace
}  // namespace copykv::bench
