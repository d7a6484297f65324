// SPDX-License-Identifier: Apache-2.0
// What becomes of measurements: adding up, Little's law, confidence, objectives, the way between
// processes, the live line, the line round trip.
#include "bench/measure.hpp"

#include <algorithm>
#include <cmath>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "bench/confidence.hpp"
#include "bench/daemon_sample.hpp"
#include "bench/line_rtt.hpp"
#include "bench/live.hpp"
#include "bench/run_control.hpp"
#include "bench/slo.hpp"

namespace copykv::bench {
namespace {

// One second, `operations` gets of `latency_ns` each, one after the other.
Measurement steady(uint64_t operations, uint64_t latency_ns) {
  Measurement measured;
  measured.start_ns = 1000;
  measured.end_ns = 1000 + kNanosPerSecond;
  measured.operations = operations;
  measured.client_operations = {operations};
  measured.service.of(Series::get_local).record_n(latency_ns, operations);
  measured.in_flight_time_ns = operations * latency_ns;
  return measured;
}

}  // namespace

TEST_CASE("clients of a run add up") {
  Measurement sum;
  sum += steady(1000, 500);
  sum += steady(3000, 100);
  CHECK(sum.client_operations == std::vector<uint64_t>{1000, 3000});
  CHECK(sum.operations == 4000);
  CHECK(sum.slowest_client_share() == 0.5);
  CHECK(sum.seconds() == 1.0);
  CHECK(sum.ops_per_second() == 4000);
  CHECK(sum.service.gets().count() == 4000);
  CHECK(sum.service.puts().count() == 0);
  CHECK(sum.littles_law().latency_mean_ns == Approx(200));
  CHECK(sum.littles_law().residual < 1e-12);
}

TEST_CASE("Little's law notices lost and doubled operations, and a run fails by it") {
  RunOptions options;
  for (const double lost : {0.0, 0.02, 0.05}) {
    RunResult run;
    run.measured = steady(100'000, 1000);
    run.measured.service = {};
    run.measured.service.of(Series::get_local)
        .record_n(1000, static_cast<uint64_t>(100'000 * (1 - lost)));
    run.measured.service.of(Series::get_local).record_n(0, static_cast<uint64_t>(100'000 * lost));
    CHECK(run.measured.littles_law().residual == Approx(lost).margin(1e-9));
    judge_run(options, run);
    CHECK(run.failures.size() == (lost > kResidualFails ? 1 : 0));
    CHECK(run.warnings.size() == (lost > kResidualWarns && lost <= kResidualFails ? 1 : 0));
  }
}

TEST_CASE("runs fail by errors, missing clients and rates that were not reached") {
  RunOptions options;
  RunResult run;
  run.measured = steady(1000, 1000);
  judge_run(options, run);
  REQUIRE(run.failures.empty());
  run.measured.errors[static_cast<size_t>(Status::no_space)] = 3;
  run.measured.unsent = 5;
  options.client_threads = 2;
  judge_run(options, run);
  CHECK(run.failures.size() == 3);
}

TEST_CASE("answers over time add up to all of them, whatever the length of a run") {
  for (const uint64_t duration_ns : {uint64_t{1}, uint64_t{1'000}, 10 * kNanosPerSecond}) {
    CAPTURE(duration_ns);
    RateOverTime rate;
    rate.begin(duration_ns);
    uint64_t times = 0;
    for (uint64_t at_ns = 0; at_ns <= duration_ns; at_ns += duration_ns / 1'000 + 1) {
      rate.count(at_ns, 3);
      times += 3;
    }
    rate.count(100 * duration_ns, 5);  // long after the end
    RateOverTime both = rate;
    both += rate;
    const uint64_t end_ns = 100 * duration_ns + 1;
    const auto slices = both.slices(end_ns);
    REQUIRE_FALSE(slices.empty());
    double sum = 0;
    double from_s = 0;
    for (const RateOverTime::Slice& slice : slices) {
      const double width_s = 2 * (slice.middle_s - from_s);
      sum += slice.per_second * width_s;
      from_s += width_s;
    }
    CHECK(sum == Approx(2.0 * (static_cast<double>(times) + 5)));
    CHECK(from_s == Approx(static_cast<double>(end_ns) / 1e9));
  }
  CHECK(RateOverTime{}.slices(kNanosPerSecond).empty());
}

TEST_CASE("a measurement survives the way between processes, a cut one does not") {
  Measurement measured = steady(1000, 777);
  measured.response.of(Series::put_local).record(123'456'789);
  measured.errors[2] = 9;
  measured.unsent = 4;
  measured.over_time.begin(1'000);
  measured.over_time.count(500, 77);
  measured.interrupted = true;
  measured.first_wrong = WrongValue{3, "0000002a", 100, std::string("\0\1\2", 3)};
  const std::string bytes = encode(measured);
  const auto back = decode(bytes);
  REQUIRE(back);
  CHECK(back->operations == 1000);
  CHECK(back->service.all().percentile_ns(50) == measured.service.all().percentile_ns(50));
  CHECK(back->service.all().sum_ns() == measured.service.all().sum_ns());
  CHECK(back->response.puts().max_ns() == 123'456'789);
  CHECK(back->errors == measured.errors);
  CHECK(back->interrupted);
  CHECK(back->unsent == 4);
  CHECK(back->over_time.answered == measured.over_time.answered);
  CHECK(back->client_operations == measured.client_operations);
  REQUIRE(back->first_wrong);
  CHECK(back->first_wrong->value_start == std::string("\0\1\2", 3));
  CHECK(encode(*back) == bytes);
  for (size_t cut = 0; cut < bytes.size(); cut += 7) {
    REQUIRE_FALSE(decode(std::string_view(bytes).substr(0, cut)));
  }
}

TEST_CASE("intervals of the median: coverage as the binomial says") {
  CHECK(coverage_of(2, 1) == Approx(0.5));
  CHECK(coverage_of(5, 1) == Approx(0.9375));
  CHECK(coverage_of(6, 1) == Approx(0.96875));
  CHECK(coverage_of(10, 2) == Approx(0.978515625));
  CHECK(coverage_of(1000, 1) == Approx(1.0));

  CHECK(median_of_runs({}).median == 0);
  CHECK(median_of_runs({5}).coverage == 0);
  const MedianInterval three = median_of_runs({3, 1, 2});
  CHECK(three.median == 2);
  CHECK(three.low == 1);
  CHECK(three.high == 3);
  CHECK(three.coverage == Approx(0.75));
  const MedianInterval ten = median_of_runs({10, 9, 8, 7, 6, 5, 4, 3, 2, 1});
  CHECK(ten.median == 5.5);
  CHECK(ten.low == 2);
  CHECK(ten.high == 9);
}

TEST_CASE("intervals of the median hold the true one as often as they say") {
  Random random(8);
  int held = 0;
  constexpr int kTrials = 4000;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> samples;
    for (int i = 0; i < 12; ++i) samples.push_back(-std::log(1 - random.unit()));
    const MedianInterval interval = median_of_runs(samples);
    held += interval.low <= std::log(2.0) && std::log(2.0) <= interval.high;
  }
  CHECK(held / static_cast<double>(kTrials) == Approx(coverage_of(12, 3)).margin(0.01));
  CHECK(held / static_cast<double>(kTrials) >= 0.95);
}

TEST_CASE("the median inside a run") {
  Histogram histogram;
  for (uint64_t i = 1; i <= 10'000; ++i) histogram.record(i);
  const MedianInterval interval = median_of_histogram(histogram);
  CHECK(interval.median == Approx(5000).epsilon(0.001));
  CHECK(interval.low == Approx(4902).epsilon(0.002));
  CHECK(interval.high == Approx(5098).epsilon(0.002));
}

TEST_CASE("objectives are read and judged") {
  const auto met = [](const char* text, const Measurement& measured) {
    const Slo slo = *Slo::parse(text);
    return judge({&slo, 1}, {&measured, 1}).front().met;
  };
  const Measurement measured = steady(1'000'000, 1000);
  CHECK(met("get.p99<2us", measured));
  CHECK_FALSE(met("get.p99<1us", measured));
  CHECK(met("get.p99<=1us", measured));
  CHECK(met("all.p50>=1000", measured));
  CHECK_FALSE(met("all.p50>1000ns", measured));
  CHECK(met("all.ops>=1M", measured));
  CHECK_FALSE(met("all.ops>1M", measured));
  CHECK(met("all.ops>999.9k", measured));
  CHECK(met("get.mean<1.1us", measured));
  CHECK(met("get.max<1ms", measured));
  CHECK(met("get.p999<1ms", measured));
  CHECK(met("get.p90<1ms", measured));
  CHECK_FALSE(met("put.p99<1s", measured));  // no put was measured
}

TEST_CASE("a missed objective says by how much") {
  const Slo slo = *Slo::parse("get.p99<800ns");
  const Measurement measured = steady(100, 1000);
  const SloVerdict verdict = judge({&slo, 1}, {&measured, 1}).front();
  CHECK_FALSE(verdict.met);
  CHECK(verdict.line.find("get.p99<800ns missed") != std::string::npos);
  CHECK(verdict.line.find("25.0 % over") != std::string::npos);
}

TEST_CASE("in an open loop objectives look at response times") {
  const Slo slo = *Slo::parse("get.p99<2us");
  Measurement measured = steady(100, 1000);
  measured.response.of(Series::get_local).record_n(50'000, 100);
  CHECK_FALSE(judge({&slo, 1}, {&measured, 1}).front().met);
}

TEST_CASE("objectives that mean nothing are refused") {
  for (const char* const text : {"", "p99<5us", "get.p98<5us", "del.p99<5us", "get.p99=5us",
                                 "get.p99<", "get.p99<5 apples", "all.ops>1X", "get.p99", "<.5"}) {
    CAPTURE(text);
    CHECK_FALSE(Slo::parse(text));
  }
}

TEST_CASE("live counts: buckets hold their values within an eighth") {
  for (uint64_t ns = 1; ns < kNanosPerSecond; ns = ns * 9 / 8 + 1) {
    const uint64_t upper_ns = LiveStats::upper_ns(LiveStats::bucket_of(ns));
    REQUIRE(upper_ns >= ns);
    REQUIRE(upper_ns - ns <= ns / 8);
  }
  CHECK(LiveStats::bucket_of(UINT64_MAX) == LiveStats::kBuckets - 1);
}

TEST_CASE("daemon counters: the difference of two readings") {
  static DaemonBlock block{};
  block = {};
  block.turns = 10;
  block.requests = 4;
  block.sampled_turns = 1;
  block.phases[2].record(100);
  const DaemonSample before = read_counters(block, 0, 1);
  block.turns = 110;
  block.busy_turns = 25;
  block.requests = 54;
  block.sampled_turns = 5;
  block.ground_queue_sum = 6;
  block.phases[2].record(100);
  block.phases[2].record(1000);
  const DaemonSample change = difference(read_counters(block, 0, 1), before);
  CHECK(change.daemon == 1);
  CHECK(change.turns == 100);
  CHECK(change.per_turn(change.busy_turns) == 0.25);
  CHECK(change.per_turn(change.requests) == 0.5);
  CHECK(change.ground_queue_mean() == 1.5);
  CHECK(change.phases[2].count() == 2);
  CHECK(change.phases[2].mean_ns() == 550);
  CHECK(change.phases[0].count() == 0);
}

TEST_CASE("the line round trip is measured and its threads leave the caller's affinity alone") {
  cpu_set_t before;
  cpu_set_t after;
  sched_getaffinity(0, sizeof(before), &before);
  const LineRtt line = measure_line_rtt(TickClock::calibrate());
  sched_getaffinity(0, sizeof(after), &after);
  CHECK(CPU_EQUAL(&before, &after));
  CHECK(line.histogram.count() > 0);
  CHECK(line.p50_ns > 10);
  if (line.histogram.count() >= 10'000) CHECK(line.note.empty() == line.two_cores);
}

TEST_CASE("the calibrated clock keeps pace with the system's") {
  const TickClock clock = TickClock::calibrate();
  const SystemClock system;
  for (int i = 0; i < 5; ++i) {
    const uint64_t before_ns = system.now_ns();
    const uint64_t ns = clock.now_ns();
    const uint64_t after_ns = system.now_ns();
    CHECK(ns + 100 * kNanosPerMicro > before_ns);
    CHECK(ns < after_ns + 100 * kNanosPerMicro);
    usleep(20'000);
  }
}

}  // namespace copykv::bench
