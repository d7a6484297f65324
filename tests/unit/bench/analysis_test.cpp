// SPDX-License-Identifier: Apache-2.0
// Models and tests against cases whose answers are known in closed form, and against the published
// two-rank measurement.
#include <algorithm>
#include <cmath>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "bench/analysis/gap.hpp"
#include "bench/analysis/lines.hpp"
#include "bench/analysis/mixture.hpp"
#include "bench/analysis/model_report.hpp"
#include "bench/analysis/plan.hpp"
#include "bench/analysis/rank_test.hpp"

namespace copykv::bench::analysis {
namespace {

std::vector<LoadPoint> sample(ModelKind kind, std::vector<double> parameters) {
  const Model truth{kind, std::move(parameters), 0};
  std::vector<LoadPoint> points;
  for (const double n : {1.0, 2.0, 4.0, 8.0, 12.0, 16.0}) points.push_back({n, truth.rate_at(n)});
  return points;
}

Study published() {
  Study study;
  REQUIRE(add_document(published_reference(), study));
  arrange(study);
  return study;
}

}  // namespace

TEST_CASE("mean values: balanced stations give X = N / (D (N + M - 1))") {
  for (const uint32_t stations : {1U, 2U, 5U}) {
    const Network network{0, std::vector<double>(stations, 1e-6), Service::exponential};
    for (const uint32_t n : {1U, 3U, 16U}) {
      const Solution solution = mean_values(network, n);
      CHECK(solution.rate_per_s == Approx(n / (1e-6 * (n + stations - 1))));
      CHECK(solution.rate_per_s * solution.response_s == Approx(n));  // Little's law, no delay
    }
  }
}

TEST_CASE("mean values: the machine repairman's closed form") {
  // One exponential server, N customers with mean thinking time Z: M/M/1//N.
  constexpr double kDemand = 2e-6;
  constexpr double kThink = 10e-6;
  for (const uint32_t n : {1U, 4U, 12U}) {
    double term = 1;
    double sum = 1;
    for (uint32_t k = 1; k <= n; ++k) {
      term *= (n - k + 1) * kDemand / kThink;
      sum += term;
    }
    const double busy = 1 - 1 / sum;
    const Solution solution = mean_values({kThink, {kDemand}, Service::exponential}, n);
    CHECK(solution.rate_per_s == Approx(busy / kDemand));
    CHECK(solution.utilisation[0] == Approx(busy));
  }
}

TEST_CASE("fixed service times wait less, and nothing passes the bounds") {
  for (const uint32_t n : {1U, 2U, 6U, 30U}) {
    const double exponential = mean_values({10e-6, {2e-6}, Service::exponential}, n).rate_per_s;
    const double fixed = mean_values({10e-6, {2e-6}, Service::fixed}, n).rate_per_s;
    const Bounds bounds = asymptotic_bounds(12e-6, 2e-6, n);
    CHECK(exponential <= fixed * (1 + 1e-12));
    CHECK(fixed <= bounds.rate_max_per_s * (1 + 1e-12));
    CHECK(bounds.knee == Approx(6));
  }
}

TEST_CASE("each model finds its own parameters, and wins on its own data") {
  const std::vector<std::pair<ModelKind, std::vector<double>>> truths = {
      {ModelKind::bounds, {4e-6, 0.7e-6}},
      {ModelKind::mva, {4e-6, 0.7e-6}},
      {ModelKind::mva_fixed, {4e-6, 0.7e-6}},
      {ModelKind::batch, {3e-6, 0.5e-6}},
      {ModelKind::scalability, {250e3, 0.08, 0.004}},
  };
  for (const auto& [kind, parameters] : truths) {
    INFO(name_of(kind));
    const auto points = sample(kind, parameters);
    const Model model = fit(kind, points);
    REQUIRE(model.parameters.size() == parameters.size());
    for (size_t i = 0; i < parameters.size(); ++i) {
      CHECK(model.parameters[i] == Approx(parameters[i]).epsilon(0.01));
    }
    const auto ranked = judge_models(points);
    REQUIRE(ranked.size() == 5);
    // The batch model is the scalability law without coherence: either may win on its data.
    if (kind != ModelKind::batch) CHECK(ranked.front().model.kind == kind);
    CHECK(ranked.front().held_out_rms < 0.02);
  }
}

TEST_CASE("too few points fit nothing") {
  const std::vector<LoadPoint> one = {{1, 1e6}};
  CHECK(fit(ModelKind::mva, one).rate_at(1) == 0);
  CHECK(judge_models(one).empty());
}

TEST_CASE("published: a saturated station explains held-out points, the batch model does not") {
  const Study study = published();
  const ModelReport report = explain(study.series.front(), {});
  REQUIRE(report.ranked.size() == 5);
  CHECK(report.ranked.front().held_out_rms < 0.08);
  CHECK(report.ranked.back().model.kind == ModelKind::batch);
  CHECK(report.ranked.back().held_out_rms > 0.2);
  CHECK(report.knee == Approx(6.0).epsilon(0.01));
  CHECK(report.saturation.named.empty());  // no busy times were published
}

TEST_CASE("published: the histogram has two peaks") {
  const Study study = published();
  const PeakAnalysis peaks = find_peaks(study.series.front().points.back().runs.front().rtt.bins);
  CHECK(peaks.two_peaks);
  CHECK(peaks.two.peak_ns(peaks.two.components[1]) == Approx(14e3).margin(1000));
  CHECK(peaks.two.components[1].weight == Approx(0.82).margin(0.1));
}

TEST_CASE("a station is named only when utilisation law and what-if agree") {
  // 16 customers, 1 M/s: cycle alone 5 us, D of the NIC 0.97 us.
  const LoadPoint at{16, 1e6};
  const std::vector<Named> busy = {{"daemon", 0.4}, {"send_queue", 0.97}};
  CHECK(find_saturation(busy, at, 5e-6, {}).named == "send_queue");
  CHECK(find_saturation(busy, at, 5e-6, WhatIf{"send_queue", 0.6}).named == "send_queue");
  CHECK(find_saturation(busy, at, 5e-6, WhatIf{"send_queue", 0.02}).named.empty());
  CHECK(find_saturation(busy, at, 5e-6, WhatIf{"daemon", 0.5}).named.empty());
  CHECK(find_saturation(busy, at, 5e-6, WhatIf{"daemon", 0.01}).named == "send_queue");
  CHECK(find_saturation({{"daemon", 0.5}}, at, 5e-6, {}).named.empty());
  // Two stations alike: halving one moves the limit to the other.
  CHECK(find_saturation({{"a", 0.98}, {"b", 0.98}}, at, 5e-6, {}).named.empty());
  CHECK(find_saturation({}, at, 5e-6, {}).named.empty());
}

TEST_CASE("lines: exact ones are found exactly, outliers drag least squares alone") {
  std::vector<Sample> samples;
  for (double x = 1; x <= 10; ++x) samples.push_back({x, 5000 + 952 * x, 1});
  CHECK(least_squares(samples).slope.value == Approx(952));
  CHECK(least_squares(samples).intercept.value == Approx(5000));
  CHECK(theil_sen(samples).slope.value == Approx(952));
  samples.back().y *= 20;
  CHECK(theil_sen(samples).slope.value == Approx(952));
  CHECK(least_squares(samples).slope.value > 2 * 952);
  CHECK(least_squares({}).points == 0);
  CHECK(theil_sen(std::vector<Sample>{{1, 1, 1}, {1, 2, 1}}).points == 0);
}

TEST_CASE("lines: 95 % intervals hold the truth about as often as they say") {
  Random random(7);
  int squares = 0;
  int median = 0;
  constexpr int kTrials = 400;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<Sample> samples;
    for (double x = 0; x < 12; ++x) {
      double noise = -6;
      for (int i = 0; i < 12; ++i) noise += random.unit();
      samples.push_back({x, 3 + 2 * x + noise, 1});
    }
    const auto holds = [](const Estimate& e) { return e.low <= 2 && 2 <= e.high; };
    squares += holds(least_squares(samples).slope) ? 1 : 0;
    median += holds(theil_sen(samples).slope) ? 1 : 0;
  }
  CHECK(squares > 0.92 * kTrials);
  CHECK(squares < 0.98 * kTrials);
  CHECK(median > 0.92 * kTrials);
}

TEST_CASE("mixture: two bells are told from one, and found") {
  std::vector<Bin> one;
  std::vector<Bin> two;
  for (double x = 0; x < 40; ++x) {
    const auto bell = [&](double at, double width) {
      return std::exp(-(x + 0.5 - at) * (x + 0.5 - at) / (2 * width * width)) / width;
    };
    one.push_back({x, x + 1, std::round(1e5 * bell(20, 4))});
    two.push_back({x, x + 1, std::round(1e5 * (0.3 * bell(10, 2) + 0.7 * bell(25, 3)))});
  }
  CHECK_FALSE(find_peaks(one).two_peaks);
  const PeakAnalysis peaks = find_peaks(two);
  CHECK(peaks.two_peaks);
  CHECK(peaks.two.components[0].weight == Approx(0.3).margin(0.01));
  CHECK(peaks.two.peak_ns(peaks.two.components[0]) == Approx(10).margin(0.2));
  CHECK(peaks.two.peak_ns(peaks.two.components[1]) == Approx(25).margin(0.2));
  CHECK(find_peaks({}).two.components.empty());
}

TEST_CASE("Mann-Whitney: tabulated values, ties, and too few samples") {
  const std::vector<double> low = {1, 2, 3, 4, 5};
  const std::vector<double> high = {6, 7, 8, 9, 10};
  CHECK(mann_whitney(low, high).u == 25);
  CHECK(mann_whitney(low, high).p_value == Approx(2.0 / 252));
  CHECK(mann_whitney(high, low).p_value == Approx(2.0 / 252));
  CHECK(mann_whitney(low, low).p_value == Approx(1));
  CHECK(mann_whitney(std::vector<double>{1}, std::vector<double>{2}).p_least == 1);
  CHECK(mann_whitney(std::vector<double>{1, 2, 3}, std::vector<double>{4, 5, 6}).p_least > 0.05);
  CHECK(mann_whitney({}, low).p_value == 1);
  // 20 and 20: the normal approximation; U = 0 is far beyond any doubt.
  std::vector<double> many;
  std::vector<double> more;
  for (int i = 0; i < 20; ++i) many.push_back(i), more.push_back(i + 100);
  CHECK_FALSE(mann_whitney(many, more).exact);
  CHECK(mann_whitney(many, more).p_value < 1e-6);
}

TEST_CASE("the gap's parts add up to the gap") {
  const auto point = [](double rate, double local_ns, double remote_ns) {
    Point p;
    p.conditions.clients = 16;
    RunFigures run;
    run.seconds = 1;
    run.operations = rate;
    run.rate_per_s = rate;
    run.causes = {{"get_local", {rate / 2, local_ns, 0, 0, 0, 0, 0, {}}}};
    if (remote_ns > 0)
      run.causes.push_back({"get_remote", {rate / 2, remote_ns, 0, 0, 0, 0, 0, {}}});
    p.runs = {run};
    return p;
  };
  const Point one = point(15e6, 900, 0);
  const Point two = point(2.25e6, 700, 13000);
  double sum = 0;
  for (const Named& part : cycle_gap(one, two)) sum += part.value;
  CHECK(sum == Approx(16e9 / 2.25e6 - 16e9 / 15e6));
  CHECK(cycle_gap(one, Point{}).empty());
}

TEST_CASE("a plan meets its target, or says what cannot be met") {
  const Series series = published().series.front();
  const ModelReport report = explain(series, {});
  const auto made = plan(series, report, {.rate_per_s = 50e6, .items = 1'000'000});
  REQUIRE(made);
  CHECK(made->rate_per_s >= 50e6);
  CHECK(made->clients_per_rank >= 1);
  CHECK(made->clients_per_rank <= kExtrapolationMax * 16);
  CHECK(made->memory_per_rank_bytes > 1'000'000 / made->ranks * 48);
  CHECK_FALSE(plan(series, report, {.rate_per_s = 1e12}));
  CHECK_FALSE(plan(series, report, {.rate_per_s = 1e6, .p99_s = 1e-6}));
}

}  // namespace copykv::bench::analysis
