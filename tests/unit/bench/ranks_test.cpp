// SPDX-License-Identifier: Apache-2.0
// A load over several ranks: which keys, who asks for which, and how results are added up.
#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "bench/commands.hpp"
#include "bench/fake_backend.hpp"
#include "bench/key_map.hpp"
#include "bench/report.hpp"
#include "bench/worker.hpp"

namespace copykv::bench {
namespace {

/// Partitions dealt out in turn.
PartitionRanks deal(uint32_t ranks) {
  PartitionRanks owners{};
  for (uint32_t partition = 0; partition < kPartitionCount; ++partition) {
    owners[partition] = static_cast<uint16_t>(partition % ranks);
  }
  return owners;
}

uint32_t owner_of(const PartitionRanks& owners, uint32_t number, uint32_t key_bytes) {
  KeyText text(key_bytes);
  return owners[partition_of(hash_key(text(number)))];
}

Workload over_ranks(uint32_t ranks, uint32_t rank, const std::vector<uint32_t>& numbers,
                    const char* distribution = "uniform") {
  Workload workload;
  workload.ranks = ranks;
  workload.rank = rank;
  workload.key_range = numbers.size() / ranks;
  workload.key_numbers = numbers;
  workload.sizes = *ValueSizes::parse("8");
  workload.distribution = *Distribution::parse(distribution);
  return workload;
}

/// Operations on each key, by place; whether `remote` is right is checked on the way.
std::vector<uint64_t> draw(const Workload& workload, uint64_t operations, uint32_t client = 0,
                           uint32_t clients = 1) {
  OpStream stream(workload, 7 + client, client, clients);
  std::vector<uint64_t> counts(workload.keys());
  uint64_t misplaced = 0;
  for (uint64_t i = 0; i < operations; ++i) {
    const PlannedOp& op = stream.next();
    const auto found =
        std::find(workload.key_numbers.begin(), workload.key_numbers.end(), op.key_index);
    REQUIRE(found != workload.key_numbers.end());
    const auto place = static_cast<uint64_t>(found - workload.key_numbers.begin());
    ++counts[place];
    misplaced += op.remote != (place / workload.key_range != workload.rank);
  }
  CHECK(misplaced == 0);
  return counts;
}

uint64_t of_rank(const std::vector<uint64_t>& counts, const Workload& workload, uint32_t rank) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < workload.key_range; ++i) sum += counts[rank * workload.key_range + i];
  return sum;
}

RunResult one_rank(uint32_t rank, uint64_t operations, uint64_t latency_ns) {
  RunResult result;
  Measurement& m = result.measured;
  m.start_ns = 0;
  m.end_ns = kNanosPerSecond;
  m.operations = operations;
  m.client_operations = {operations};
  m.in_flight_time_ns = operations * latency_ns;
  m.service.of(Series::get_remote).record_n(latency_ns, operations);
  result.ranks.push_back({rank, operations, m.ops_per_second()});
  DaemonSample daemon;
  daemon.rank = rank;
  daemon.turns = 1000;
  daemon.requests = operations;
  daemon.remote_calls = daemon.remote_answers = operations;
  daemon.inbound_requests = 40;
  daemon.ring_full = 5;
  daemon.messages_sent = 600;
  daemon.batches_sent = 100;
  daemon.rtt.record_n(10 * latency_ns, 16);
  daemon.phases[1].record(77);
  result.daemons.push_back(daemon);
  return result;
}

}  // namespace

TEST_CASE("each rank has exactly the key range of its own keys") {
  for (const uint32_t ranks : {2U, 3U, 7U}) {
    const PartitionRanks owners = deal(ranks);
    const auto numbers = choose_keys(owners, ranks, 500, 8);
    REQUIRE(numbers);
    REQUIRE(numbers->size() == ranks * 500);
    CHECK(std::set<uint32_t>(numbers->begin(), numbers->end()).size() == numbers->size());
    uint64_t misplaced = 0;
    for (size_t place = 0; place < numbers->size(); ++place) {
      misplaced += owner_of(owners, (*numbers)[place], 8) != place / 500;
    }
    CHECK(misplaced == 0);
    CHECK(*choose_keys(owners, ranks, 500, 8) == *numbers);  // every rank makes the same ones
  }
}

TEST_CASE("names that are too short for the keys are refused, not searched for for ever") {
  CHECK(choose_keys(deal(2), 2, 50, 2));
  const auto refused = choose_keys(deal(2), 2, 200, 2);
  REQUIRE_FALSE(refused);
  CHECK(refused.error ==
        "--key-bytes 2: too short for 200 keys of each of 2 ranks; raise it or "
        "lower --key-range");
  PartitionRanks lonely{};  // rank 1 owns nothing
  CHECK_FALSE(choose_keys(lonely, 2, 1, 3));
}

TEST_CASE("by key: every rank's keys are asked for alike, whoever asks") {
  const auto numbers = *choose_keys(deal(4), 4, 64, 8);
  for (const uint32_t rank : {0U, 2U}) {
    const Workload workload = over_ranks(4, rank, numbers);
    const auto counts = draw(workload, 40'000);
    for (uint32_t owner = 0; owner < 4; ++owner) {
      CHECK(static_cast<double>(of_rank(counts, workload, owner)) == Approx(10'000).epsilon(0.05));
    }
    CHECK(*std::min_element(counts.begin(), counts.end()) > 0);
  }
}

TEST_CASE("by ratio: so many on the own rank, the others share the rest") {
  const auto numbers = *choose_keys(deal(3), 3, 50, 8);
  for (const double ratio : {0.0, 0.25, 1.0}) {
    for (const uint32_t rank : {0U, 1U, 2U}) {
      for (const char* const distribution : {"uniform", "zipfian:0.9", "hotspot:0.2,0.8"}) {
        Workload workload = over_ranks(3, rank, numbers, distribution);
        workload.local_ratio = ratio;
        const auto counts = draw(workload, 20'000);
        for (uint32_t owner = 0; owner < 3; ++owner) {
          const double share = owner == rank ? ratio : (1 - ratio) / 2;
          const bool skewed = std::string(distribution) != "uniform";
          CHECK(static_cast<double>(of_rank(counts, workload, owner)) ==
                Approx(20'000 * share).epsilon(skewed && owner != rank ? 0.4 : 0.05).margin(1));
        }
      }
    }
  }
}

TEST_CASE("zipfian is scrambled over the ranks: the popular keys are not one rank's") {
  const auto numbers = *choose_keys(deal(4), 4, 256, 8);
  const Workload workload = over_ranks(4, 0, numbers, "zipfian:0.99");
  auto counts = draw(workload, 50'000);
  std::vector<uint64_t> places(counts.size());
  for (size_t i = 0; i < places.size(); ++i) places[i] = i;
  std::sort(places.begin(), places.end(), [&](auto a, auto b) { return counts[a] > counts[b]; });
  std::vector<uint32_t> popular(4);
  for (size_t i = 0; i < 20; ++i) ++popular[places[i] / 256];
  CHECK(*std::min_element(popular.begin(), popular.end()) >= 3);
  CHECK(*std::max_element(popular.begin(), popular.end()) <= 7);
}

TEST_CASE("latest: each client of all ranks writes keys of its own, on all ranks") {
  const auto numbers = *choose_keys(deal(2), 2, 64, 8);
  Workload workload = over_ranks(2, 0, numbers, "latest");
  workload.read_ratio = 0;
  std::vector<uint64_t> writers(workload.keys());
  for (uint32_t client = 0; client < 4; ++client) {
    const auto counts = draw(workload, 2000, client, 4);
    CHECK(of_rank(counts, workload, 0) > 0);
    CHECK(of_rank(counts, workload, 1) > 0);
    for (size_t place = 0; place < counts.size(); ++place) writers[place] += counts[place] > 0;
  }
  CHECK(*std::max_element(writers.begin(), writers.end()) == 1);
  CHECK(*std::min_element(writers.begin(), writers.end()) == 1);
}

TEST_CASE("a client loads its part of the keys of its rank, and books remote keys as remote") {
  const auto numbers = *choose_keys(deal(2), 2, 100, 8);
  FakeBackend backend(FakeBackend::constant(1000), 64);
  LiveStats live;
  const uint32_t stop = 0;
  for (const uint32_t rank : {0U, 1U}) {
    const Workload workload = over_ranks(2, rank, numbers);
    for (uint32_t client = 0; client < 3; ++client) {
      WorkerSetup setup;
      setup.client = rank * 3 + client;
      setup.clients = 6;
      setup.load_begin = rank * 100 + client;
      setup.load_end = (rank + 1) * 100;
      setup.load_step = 3;
      Worker worker(backend, backend, workload, setup, live, stop);
      CHECK(worker.preload() == Status::ok);
    }
  }
  // All keys are there: no read ends as not_found.
  Workload workload = over_ranks(2, 1, numbers);
  workload.local_ratio = 0.75;
  workload.read_ratio = 0.5;
  Worker worker(backend, backend, workload, {}, live, stop);
  Measurement measured;
  const uint64_t now_ns = backend.now_ns();
  CHECK(worker.run({now_ns, now_ns + 40'000'000, now_ns + 40'000'000, now_ns + 80'000'000},
                   measured));
  CHECK(measured.errors_total() == 0);
  CHECK(measured.operations == 40'000);
  CHECK(measured.reads_verified == measured.service.gets().count());
  for (const Series series : {Series::get_local, Series::put_local}) {
    CHECK(static_cast<double>(measured.service.of(series).count()) == Approx(15'000).epsilon(0.05));
  }
  for (const Series series : {Series::get_remote, Series::put_remote}) {
    CHECK(static_cast<double>(measured.service.of(series).count()) == Approx(5'000).epsilon(0.05));
  }
}

TEST_CASE("results of ranks are added by counts") {
  RunResult all = one_rank(0, 3000, 1000);
  all += one_rank(1, 1000, 9000);
  CHECK(all.measured.operations == 4000);
  CHECK(all.measured.ops_per_second() == 4000);
  CHECK(all.measured.client_operations == std::vector<uint64_t>{3000, 1000});
  // The median of all, not a mean of two medians.
  CHECK(all.measured.service.all().percentile_ns(50) == 1000);
  CHECK(all.measured.service.all().percentile_ns(76) == Approx(9000).epsilon(0.001));
  CHECK(all.measured.service.all().mean_ns() == 3000);
  CHECK(all.measured.littles_law().in_flight_mean == Approx(0.012));
  CHECK(all.measured.littles_law().residual < 1e-9);
  CHECK(all.daemons.size() == 2);
  const Traffic traffic = traffic_of(all.daemons);
  CHECK(traffic.messages_per_batch() == 6);
  CHECK(traffic.rtt.count() == 32);
  const RankBalance balance = balance_of(all.ranks);
  CHECK(balance.slowest_ops_per_second == 1000);
  CHECK(balance.fastest_ops_per_second == 3000);
  CHECK(balance.ratio() == Approx(1.0 / 3));
  CHECK(balance_of({}).ratio() == 1);
}

TEST_CASE("ranks whose clocks have nothing in common are counted from their own start") {
  RunResult near = one_rank(0, 1000, 1000);
  RunResult far = one_rank(1, 1000, 1000);
  far.measured.start_ns += 3600 * kNanosPerSecond;
  far.measured.end_ns += 3600 * kNanosPerSecond;
  far.measured.count_from_start();
  near += far;
  CHECK(near.measured.seconds() == 1);
  Measurement nobody;
  nobody.count_from_start();
  CHECK(nobody.seconds() == 0);
}

TEST_CASE("a result survives the way to rank 0, and a cut one is not taken") {
  RunResult sent = one_rank(1, 2000, 500);
  sent.failures = {"it failed"};
  sent.warnings = {"careful", "again"};
  sent.may_go_on = false;
  const std::string bytes = encode(sent);
  const auto back = decode_result(bytes);
  REQUIRE(back);
  CHECK(encode(*back) == bytes);
  CHECK(back->failures == sent.failures);
  CHECK(back->warnings == sent.warnings);
  CHECK_FALSE(back->may_go_on);
  CHECK(back->ranks[0].ops_per_second == 2000);
  CHECK(back->daemons[0].phases[1].count() == 1);
  for (size_t length = 0; length < bytes.size(); length += 101) {
    CHECK_FALSE(decode_result(std::string_view(bytes).substr(0, length)));
  }
}

TEST_CASE("a run in which a rank or a client is missing has failed") {
  RunOptions options;
  options.ranks = 2;
  RunResult complete = one_rank(0, 1000, 1000);
  complete += one_rank(1, 1000, 1000);
  judge_run(options, complete);
  CHECK(complete.failures.empty());
  RunResult alone = one_rank(0, 1000, 1000);
  judge_run(options, alone);
  REQUIRE(alone.failures.size() == 1);
  CHECK(alone.failures[0] == "1 of 2 clients reported");
  RunResult off = one_rank(0, 1000, 1000);
  off += one_rank(1, 1000, 1000);
  off.measured.in_flight_time_ns = off.measured.in_flight_time_ns * 104 / 100;
  judge_run(options, off);
  REQUIRE(off.failures.size() == 1);
  CHECK(off.failures[0].find("Little's law is off by 3.85 %") == 0);
}

TEST_CASE("the document and the table show the ranks") {
  Report report;
  report.options.ranks = 2;
  report.host.transport = "ofi-tcp";
  RunResult run = one_rank(0, 3000, 1000);
  run += one_rank(1, 1000, 9000);
  report.runs.push_back(run);
  const Json json = to_json(report)["runs"][0];
  CHECK(json["ranks_reporting"] == 2);
  CHECK(json["rank_balance"]["ops_per_second_min"] == 1000.0);
  CHECK(json["rank_balance"]["min_over_max"].get<double>() == Approx(1.0 / 3));
  CHECK(json["ranks"][1]["operations"] == 1000);
  CHECK(json["copyrpc"]["rtt_ns"]["count"] == 32);
  CHECK(json["copyrpc"]["remote_ops_per_second_per_rank"] == 2000.0);
  CHECK(json["copyrpc"]["messages_per_batch_mean"] == 6.0);
  CHECK(json["copyrpc"]["batches_per_second"] == 200.0);
  const Json& turn = json["daemons"][1]["per_turn"];
  CHECK(turn["requests"] == 1.0);
  CHECK(turn["local"] == 0.0);
  CHECK(turn["remote"] == 1.0);
  CHECK(turn["answers"] == 1.0);
  CHECK(turn["inbound"] == 0.04);
  CHECK(turn["flushes"] == 0.1);
  CHECK(turn["ring_full"] == 0.005);
  CHECK(json["daemons"][1]["rank"] == 1);
  CHECK(json["latency_ns"]["get_remote"]["count"] == 4000);
  const std::string table = to_table(report);
  CHECK(table.find("2 ranks, 1 daemon thread each") != std::string::npos);
  CHECK(table.find("get remote") != std::string::npos);
  CHECK(table.find("2 of 2 ranks reported; slowest 1.00 k ops/s, fastest 3.00 k ops/s (33 %)") !=
        std::string::npos);
  CHECK(table.find("6.0 messages per batch, 200 batches/s") != std::string::npos);
}

TEST_CASE("a sweep of rtt-analysis takes its clients from the preset unless they are given") {
  std::vector<std::string> plain = {"--preset", "rtt-analysis", "--duration", "1"};
  add_preset_lists(plain);
  CHECK(expand_sweep(plain).size() == 5);
  std::vector<std::string> given = {"--preset=rtt-analysis", "--client-threads=3,4"};
  add_preset_lists(given);
  CHECK(expand_sweep(given).size() == 2);
  std::vector<std::string> other = {"--preset", "ycsb-a"};
  add_preset_lists(other);
  CHECK(expand_sweep(other).size() == 1);
}

}  // namespace copykv::bench
