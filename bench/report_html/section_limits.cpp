// SPDX-License-Identifier: Apache-2.0
// The cycle against the batch, the limit of the rate, and what the models make of it.
#include <fmt/format.h>

#include <algorithm>

#include "bench/analysis/model_report.hpp"
#include "bench/report_html/report_html.hpp"

namespace copykv::bench::html {
namespace {

using analysis::Judged;
using analysis::ModelReport;
using analysis::Point;
using analysis::Sample;
using analysis::Series;
using analysis::Study;

std::string range_text(const analysis::Estimate& e, Unit unit) {
  return fmt::format("{} ({} to {})", short_text(e.value, unit), short_text(e.low, unit),
                     short_text(e.high, unit));
}

// One sample per point: calls in flight of a rank, and how long each took.
std::vector<Sample> cycles_by_load(const Series& series) {
  std::vector<Sample> samples;
  for (const Point& point : series.points) {
    const auto n = point.over_runs([](const analysis::RunFigures& run) {
      return run.remote_per_rank_per_s * run.rtt.mean_ns / 1e9;
    });
    const auto cycle = point.over_runs(
        [](const analysis::RunFigures& run) { return run.rtt.count > 0 ? run.rtt.mean_ns : NAN; });
    if (n.median > 0 && cycle.median > 0) samples.push_back({n.median, cycle.median, 1});
  }
  return samples;
}

std::vector<Sample> recorded(const Series& series, analysis::Cycles analysis::RunFigures::*kind) {
  std::vector<Sample> samples;
  for (const Point& point : series.points) {
    for (const auto& run : point.runs) {
      for (const Sample& s : run.*kind) {
        if (s.x > 0) samples.push_back(s);
      }
    }
  }
  return samples;
}

void add_lines(Page& page, const Series& series, std::string_view what, std::string_view x_label,
               const std::vector<Sample>& samples) {
  const analysis::Line squares = analysis::least_squares(samples);
  const analysis::Line median = analysis::theil_sen(samples);
  if (squares.points < 3) return;
  Chart chart(fmt::format("{}: {}", series.name, what), {std::string(x_label), Unit::number},
              {"time", Unit::nanoseconds});
  std::vector<At> points;
  double most = 0;
  for (const Sample& s : samples) {
    points.push_back({s.x, s.y, 0, 0});
    most = std::max(most, s.x);
  }
  const auto ends = [most](const analysis::Line& line) {
    return std::vector<At>{{0, line.at(0), 0, 0}, {most, line.at(most), 0, 0}};
  };
  chart.marks("recorded", points)
      .line("least squares", ends(squares))
      .line("Theil-Sen", ends(median), true);
  page.figure(chart.svg(), caption_of(series));
  const auto row = [](std::string name, const analysis::Line& line) {
    return std::vector<std::string>{std::move(name), range_text(line.intercept, Unit::nanoseconds),
                                    range_text(line.slope, Unit::nanoseconds),
                                    short_text(line.residual_rms, Unit::nanoseconds)};
  };
  page.table(fmt::format("{}: {}, T = a + b n, 95 %", series.name, what),
             {"fit", "a", "b", "residual, rms"},
             {row("least squares", squares), row("Theil-Sen", median)});
}

void add_model_table(Page& page, const Series& series, const ModelReport& report) {
  std::vector<std::vector<std::string>> rows;
  for (const Judged& judged : report.ranked) {
    std::string parameters;
    const auto names = analysis::parameter_names(judged.model.kind);
    const bool law = judged.model.kind == analysis::ModelKind::scalability;
    for (size_t i = 0; i < judged.parameters.size(); ++i) {
      const analysis::Estimate& e = judged.parameters[i];
      const Unit unit = !law ? Unit::nanoseconds : i == 0 ? Unit::rate : Unit::number;
      const double scale = law ? 1 : 1e9;
      parameters += fmt::format("{}{} {}", i > 0 ? "; " : "", names[i],
                                range_text({e.value * scale, e.low * scale, e.high * scale}, unit));
    }
    std::string errors;
    for (const auto& point : judged.held_out) {
      errors += fmt::format("{}{:g}: {:+.1f} %", errors.empty() ? "" : ", ", point.customers,
                            100 * point.error);
    }
    rows.push_back({std::string(name_of(judged.model.kind)),
                    short_text(judged.held_out_rms, Unit::share),
                    short_text(judged.model.fit_error, Unit::share), errors, parameters});
  }
  page.table(
      fmt::format("{}: best on held-out points first; parameters with their range over the "
                  "fits that left one point out",
                  series.name),
      {"model", "held out, rms", "fitted, rms", "customers: error when left out", "parameters"},
      rows);
}

void add_model_charts(Page& page, const Series& series, const ModelReport& report) {
  Chart rate(series.name + ": rate X(N) of a rank", {"customers N per rank", Unit::number},
             {"operations per second and rank", Unit::rate});
  Chart cycle(series.name + ": cycle W(N) + Z = N / X", {"customers N per rank", Unit::number},
              {"from one operation to the next", Unit::nanoseconds});
  std::vector<At> rates;
  std::vector<At> cycles;
  for (const Point& point : series.points) {
    const MedianInterval x = point.rate();
    const double ranks = point.conditions.ranks;
    const double n = point.conditions.customers();
    if (x.low <= 0) continue;
    rates.push_back({n, x.median / ranks, x.low / ranks, x.high / ranks});
    cycles.push_back(
        {n, 1e9 * n * ranks / x.median, 1e9 * n * ranks / x.high, 1e9 * n * ranks / x.low});
  }
  rate.band("measured", rates).marks("measured", rates);
  cycle.band("measured", cycles).marks("measured", cycles);
  const double most = report.customers_max();
  for (const Judged& judged : report.ranked) {
    std::vector<At> x;
    std::vector<At> w;
    for (double n = 1; n <= most; n += std::max(1.0, std::floor(most / 64))) {
      const double predicted = judged.model.rate_at(n);
      x.push_back({n, predicted, 0, 0});
      w.push_back({n, 1e9 * n / predicted, 0, 0});
    }
    const bool bounds = judged.model.kind == analysis::ModelKind::bounds;
    rate.line(std::string(name_of(judged.model.kind)), x, !bounds);
    cycle.line(std::string(name_of(judged.model.kind)), w, !bounds);
  }
  page.figure(rate.svg(), caption_of(series));
  page.figure(cycle.svg(), caption_of(series));
}

void add_stations(Page& page, const Series& series, const ModelReport& report) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& station : report.saturation.stations) {
    rows.push_back({station.name, short_text(station.utilisation, Unit::share),
                    short_text(station.demand_s * 1e9, Unit::nanoseconds),
                    short_text(station.gain_if_halved, Unit::share)});
  }
  page.table(fmt::format("{}: utilisation law at the busiest load, U = X D", series.name),
             {"station", "utilisation U", "demand D per operation", "rate, if D were halved"},
             rows);
  const auto& found = report.saturation;
  page.paragraph(fmt::format(
      "{}: saturated station: {}. {}. Knee N* = X_max (R1 + Z) = {:.1f} customers of a rank{}.",
      series.name, found.named.empty() ? "not named" : found.named, found.why, report.knee,
      report.knee_measured ? "" : ", if the fastest load measured is the limit"));
}

}  // namespace

void add_cycles(Page& page, const Study& study) {
  page.heading("Cycle time against the batch");
  page.paragraph(
      "T = a + b n is what one thread would give that works through a batch of n in "
      "turn. A good line here is not evidence for it by itself: in a saturated closed "
      "system the mean round trip grows in a line with n whatever saturates.");
  for (const Series* const swept : analysis::swept(study)) {
    const Series& series = *swept;
    add_lines(page, series, "round trip by calls in flight", "calls in flight of a rank, mean",
              cycles_by_load(series));
    add_lines(page, series, "turn by its items", "items of a turn",
              recorded(series, &analysis::RunFigures::turns));
    add_lines(page, series, "time between batches by their messages", "messages of a batch",
              recorded(series, &analysis::RunFigures::batches));
  }
}

void add_limits(Page& page, const Study& study) {
  page.heading("The limit of the rate, and its station");
  page.paragraph(
      "Each model is fitted to all points but one and judged on the one it has not "
      "seen, for every point in turn. A station is named as saturated only when it is "
      "busy (utilisation law) and the what-if run with it halved brings the most.");
  for (const Series* const swept : analysis::swept(study)) {
    const Series& series = *swept;
    if (series.points.size() < 3) {
      page.note(series.name + ": fewer than three loads, no model is judged.");
      continue;
    }
    const ModelReport report = analysis::explain(series, {});
    add_model_table(page, series, report);
    add_model_charts(page, series, report);
    add_stations(page, series, report);
  }
}

}  // namespace copykv::bench::html
