// SPDX-License-Identifier: Apache-2.0
// How the round trip and the rate grow with the clients, and Little's law with its three terms
// measured apart.
#include <fmt/format.h>

#include <algorithm>

#include "bench/report_html/report_html.hpp"

namespace copykv::bench::html {
namespace {

using analysis::Point;
using analysis::RunFigures;
using analysis::Series;
using analysis::Study;

double positive(double value) {
  return value > 0 ? value : analysis::kUnknown;
}

std::vector<std::vector<std::string>> scaling_rows(const Series& series) {
  std::vector<std::vector<std::string>> rows;
  for (const Point& point : series.points) {
    const auto median = [&](auto figure) { return point.over_runs(figure); };
    rows.push_back(
        {fmt::format("{}", point.conditions.clients),
         interval_text(median([](const RunFigures& r) { return positive(r.rtt.p50_ns); }),
                       Unit::nanoseconds),
         interval_text(median([](const RunFigures& r) { return positive(r.rtt.mean_ns); }),
                       Unit::nanoseconds),
         interval_text(median([](const RunFigures& r) { return positive(r.rtt.p99_ns); }),
                       Unit::nanoseconds),
         interval_text(point.rate(), Unit::rate),
         interval_text(median([](const RunFigures& r) { return r.remote_per_rank_per_s; }),
                       Unit::rate),
         interval_text(median([](const RunFigures& r) { return positive(r.all.p50_ns); }),
                       Unit::nanoseconds)});
  }
  return rows;
}

// L in parts of what lambda and W say: both axes span decades between series.
std::vector<At> law_points(const Series& series) {
  std::vector<At> points;
  for (const Point& point : series.points) {
    for (const RunFigures& run : point.runs) {
      if (std::isnan(run.in_flight_mean) || std::isnan(run.throughput_per_s)) continue;
      points.push_back(
          {run.throughput_per_s * run.latency_mean_ns / 1e9, run.in_flight_mean, 0, 0});
    }
  }
  return points;
}

}  // namespace

void add_scaling(Page& page, const Study& study) {
  page.heading("Round trip and rate against the number of clients");
  Chart latency("Round trip at the daemon, median", {"clients per rank", Unit::number, true},
                {"round trip p50", Unit::nanoseconds, true});
  Chart curve("Throughput and latency", {"operations per second, all ranks", Unit::rate},
              {"mean round trip, or latency without one", Unit::nanoseconds, true});
  std::string captions;
  for (const Series* const swept : analysis::swept(study)) {
    const Series& series = *swept;
    page.table(caption_of(series),
               {"clients per rank", "round trip p50", "mean", "p99", "ops/s, all ranks",
                "remote/s per rank", "latency p50 (client)"},
               scaling_rows(series));
    std::vector<At> round_trips;
    std::vector<At> trade;
    for (const Point& point : series.points) {
      const auto p50 = point.over_runs([](const RunFigures& r) { return positive(r.rtt.p50_ns); });
      const auto mean = point.over_runs([](const RunFigures& r) {
        return positive(r.rtt.count > 0 ? r.rtt.mean_ns : r.all.mean_ns);
      });
      if (p50.median > 0) {
        round_trips.push_back({point.conditions.customers(), p50.median, p50.low, p50.high});
      }
      trade.push_back({point.rate().median, mean.median, mean.low, mean.high});
    }
    latency.line(series.name, round_trips).marks(series.name, round_trips);
    curve.line(series.name, trade).marks(series.name, trade);
    captions += (captions.empty() ? "" : " | ") + caption_of(series);
  }
  if (!latency.empty()) page.figure(latency.svg(), captions);
  if (!curve.empty()) page.figure(curve.svg(), captions);
}

void add_littles_law(Page& page, const Study& study) {
  page.heading("Little's law, with L, lambda and W measured apart");
  page.paragraph(
      "L is the integral of the operations in flight over time, lambda the count of "
      "answers over the same time, W the mean of the stamps. L = lambda W is an "
      "identity: that it holds proves that the counters agree, and nothing about which "
      "station is busy. Above 1 % a run is suspicious, above 3 % it has failed.");
  Chart chart("L against lambda W, every run", {"lambda W", Unit::number, true},
              {"L, operations in flight", Unit::number, true});
  chart.diagonal();
  std::string captions;
  for (const Series* const swept : analysis::swept(study)) {
    const Series& series = *swept;
    std::vector<std::vector<std::string>> rows;
    for (const Point& point : series.points) {
      double worst = analysis::kUnknown;
      for (const RunFigures& run : point.runs) {
        if (!std::isnan(run.residual))
          worst = std::isnan(worst) ? run.residual : std::max(worst, run.residual);
      }
      if (std::isnan(worst)) continue;
      const auto middle = [&](auto figure, Unit unit) {
        return short_text(point.over_runs(figure).median, unit);
      };
      rows.push_back(
          {fmt::format("{}", point.conditions.clients),
           middle([](const RunFigures& r) { return r.in_flight_mean; }, Unit::number),
           middle([](const RunFigures& r) { return r.throughput_per_s; }, Unit::rate),
           middle([](const RunFigures& r) { return r.latency_mean_ns; }, Unit::nanoseconds),
           middle([](const RunFigures& r) { return r.throughput_per_s * r.latency_mean_ns / 1e9; },
                  Unit::number),
           fmt::format("{:.3f} %", 100 * worst)});
    }
    page.table(caption_of(series),
               {"clients per rank", "L", "lambda", "W", "lambda W", "worst residual"}, rows);
    const auto points = law_points(series);
    if (points.empty()) continue;
    chart.marks(series.name, points);
    captions += (captions.empty() ? "" : " | ") + caption_of(series);
  }
  if (chart.empty()) {
    page.note("No series measured L.");
  } else {
    page.figure(chart.svg(), captions);
  }
}

}  // namespace copykv::bench::html
