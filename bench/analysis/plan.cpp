// SPDX-License-Identifier: Apache-2.0
#include "bench/analysis/plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.hpp"

namespace copykv::bench::analysis {
namespace {

// Measured: docs/benchmarks.md, memory. Values grow in size classes, so that is not all slack.
constexpr uint64_t kItemOverheadBytes = 32;
constexpr double kMemorySlack = 1.25;
constexpr uint32_t kRanksMax = 1024;
constexpr double kHeadroom = 0.9;  // of what the model says a rank can do

// p99 in parts of the mean, at the measured load nearest to `customers`.
double tail_at(const Series& series, double customers) {
  double best = INFINITY;
  double tail = kUnknown;
  for (const Point& point : series.points) {
    const double off = std::abs(std::log(point.conditions.customers() / customers));
    const auto ratio = point.over_runs([](const RunFigures& run) {
      return run.all.mean_ns > 0 ? run.all.p99_ns / run.all.mean_ns : kUnknown;
    });
    if (off >= best || ratio.median <= 0) continue;
    best = off;
    tail = ratio.median;
  }
  return tail;
}

double think_s(const Series& series) {
  const Point& point = series.points.front();
  const auto think = point.over_runs([&](const RunFigures& run) {
    const double customers = point.conditions.customers() * point.conditions.ranks;
    return run.rate_per_s > 0 ? customers / run.rate_per_s - run.latency_mean_ns / 1e9 : kUnknown;
  });
  return std::max(0.0, think.median);
}

}  // namespace

Outcome<Plan> plan(const Series& series, const ModelReport& report, const Target& target) {
  if (report.ranked.empty() || std::isnan(report.ranked.front().held_out_rms)) {
    return Failure{
        "too few loads to judge a model on: sweep at least four, --client-threads 1,2,4,8"};
  }
  const Judged& best = report.ranked.front();
  const Conditions& measured = series.points.front().conditions;
  const double most = kExtrapolationMax * report.customers_max();
  const double idle_s = think_s(series);
  const double rate_max = best.model.rate_max_per_s(most);
  Plan found;
  double best_rate = 0;
  double fastest_p99_s = INFINITY;
  for (double n = measured.depth; n <= most; n += measured.depth) {
    const double rate = best.model.rate_at(n);
    const double response_s = std::max(0.0, n / rate - idle_s);
    const double p99_s = response_s * tail_at(series, n);
    if (target.p99_s > 0 && std::isnan(p99_s))
      return Failure{"the sweep holds no p99: none can be planned"};
    fastest_p99_s = std::min(fastest_p99_s, p99_s);
    if (target.p99_s > 0 && p99_s > target.p99_s) continue;
    // More customers for a few percent of rate are waiting, not working.
    if (rate < best_rate * 1.02 || rate > rate_max * kHeadroom * 1.02) continue;
    best_rate = rate;
    found.clients_per_rank = static_cast<uint32_t>(std::lround(n / measured.depth));
    found.response_s = response_s;
    found.p99_s = p99_s;
  }
  if (best_rate <= 0 && std::isinf(fastest_p99_s)) {
    return Failure{"by this model nothing is answered: none can be planned"};
  }
  if (best_rate <= 0) {
    return Failure{fmt::format("p99 of {} cannot be met: the lowest by this model is {}",
                               round_duration(static_cast<uint64_t>(target.p99_s * 1e9)),
                               round_duration(static_cast<uint64_t>(fastest_p99_s * 1e9)))};
  }
  const double ranks = std::ceil(target.rate_per_s / best_rate);
  if (ranks > kRanksMax) {
    return Failure{fmt::format("{} ops/s need {:.0f} ranks at {} each; a job has {} at most",
                               round_count(target.rate_per_s), ranks, round_count(best_rate),
                               kRanksMax)};
  }
  found.ranks = static_cast<uint32_t>(std::max(ranks, 1.0));
  found.daemons_per_rank = measured.daemons;
  found.depth = measured.depth;
  found.rate_per_s = best_rate * found.ranks;
  found.utilisation = best_rate / rate_max;
  found.model = name_of(best.model.kind);
  found.held_out_rms = best.held_out_rms;
  const double items = static_cast<double>(target.items) / found.ranks;
  found.memory_per_rank_bytes = static_cast<uint64_t>(
      items * static_cast<double>(target.item_bytes + kItemOverheadBytes) * kMemorySlack);
  return found;
}

}  // namespace copykv::bench::analysis
