// SPDX-License-Identifier: Apache-2.0
// The distribution of the round trip: peaks, tail, and which operations make them.
#include <fmt/format.h>

#include <algorithm>

#include "bench/analysis/mixture.hpp"
#include "bench/analysis/rebin.hpp"
#include "bench/report_html/report_html.hpp"

namespace copykv::bench::html {
namespace {

using analysis::Bin;
using analysis::Latency;
using analysis::Point;
using analysis::Series;

Latency round_trips(const Point& point) {
  Latency sum;
  for (const analysis::RunFigures& run : point.runs) sum += run.rtt;
  if (!sum.bins.empty()) return sum;
  sum = {};
  for (const analysis::RunFigures& run : point.runs) sum += run.all;
  return sum;
}

std::string mixture_text(const analysis::Mixture& mixture) {
  std::string text;
  for (const analysis::Component& c : mixture.components) {
    text += fmt::format("{}{:.1f} % at {}", text.empty() ? "" : ", ", 100 * c.weight,
                        short_text(mixture.peak_ns(c), Unit::nanoseconds));
  }
  return fmt::format("{}; {}", text, mixture.logarithmic ? "log-normal" : "normal");
}

void add_peaks(Page& page, const Series& series, const Point& point, const Latency& all) {
  const std::vector<Bin> bins = analysis::rebin(all.bins, 60);
  const analysis::PeakAnalysis peaks = analysis::find_peaks(bins);
  Chart chart(fmt::format("{} clients per rank: histogram and fit", point.conditions.clients),
              {"round trip", Unit::nanoseconds, true}, {"operations per bin", Unit::rate, true});
  std::vector<BarAt> bars;
  double most = 0;
  for (const Bin& bin : bins) {
    if (bin.count > 0) bars.push_back({bin.low_ns, bin.high_ns, bin.count});
    most = std::max(most, bin.count);
  }
  chart.bars("counted", bars);
  for (size_t k = 0; k < peaks.two.components.size(); ++k) {
    std::vector<At> curve;
    for (const Bin& bin : bins) {
      const double middle = (bin.low_ns + bin.high_ns) / 2;
      const double expected = all.count * (bin.high_ns - bin.low_ns) *
                              peaks.two.density(peaks.two.components[k], middle);
      if (expected > most / 1e5 && expected > 0.5) curve.push_back({middle, expected, 0, 0});
    }
    chart.line(fmt::format("component {}", k + 1), curve);
  }
  page.figure(chart.svg(), caption_of(series));
  if (peaks.two.components.empty()) return;
  page.table(fmt::format("{}, {} clients per rank: one component or two", series.name,
                         point.conditions.clients),
             {"fit", "components", "BIC"},
             {{"one", mixture_text(peaks.one), fmt::format("{:.6g}", peaks.one.bic)},
              {"two", mixture_text(peaks.two), fmt::format("{:.6g}", peaks.two.bic)},
              {"verdict",
               peaks.two_peaks ? fmt::format("two peaks (Ashman's D {:.1f})", peaks.ashman_d)
                               : fmt::format("not two peaks (Ashman's D {:.1f}; above 2 is apart)",
                                             peaks.ashman_d),
               fmt::format("{:+.4g}", peaks.two.bic - peaks.one.bic)}});
}

void add_causes(Page& page, const Series& series, const Point& point) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> names;
  for (const auto& run : point.runs) {
    for (const auto& cause : run.causes) {
      if (std::find(names.begin(), names.end(), cause.name) == names.end()) {
        names.push_back(cause.name);
      }
    }
  }
  double total = 0;
  for (const auto& run : point.runs) total += run.operations;
  for (const std::string& name : names) {
    Latency sum;
    for (const auto& run : point.runs) {
      for (const auto& cause : run.causes) {
        if (cause.name == name) sum += cause.time;
      }
    }
    if (sum.count <= 0) continue;
    const auto ns = [](double value) { return short_text(value, Unit::nanoseconds); };
    rows.push_back({name, fmt::format("{:.1f} %", 100 * sum.count / std::max(1.0, total)),
                    ns(sum.mean_ns), ns(sum.p50_ns), ns(sum.p99_ns), ns(sum.max_ns)});
  }
  page.table(fmt::format("{}, {} clients per rank: latency at the client, by cause", series.name,
                         point.conditions.clients),
             {"operation", "share", "mean", "p50", "p99", "max"}, rows);
}

}  // namespace

void add_histogram(Page& page, const analysis::Study& study) {
  page.heading("Histogram of the round trip: one peak or two");
  page.paragraph(
      "The busiest load of each series. With millions of operations BIC prefers two "
      "components for any shape that is not exactly a bell: two peaks are claimed only "
      "where the components also lie apart and the smaller one holds 2 % or more. The "
      "tail beyond p99.5 is drawn below and left out of the fit.");
  Chart tail("Share of round trips that take longer", {"round trip", Unit::nanoseconds, true},
             {"share", Unit::number, true});
  std::string captions;
  for (const Series* const swept : analysis::swept(study)) {
    const Series& series = *swept;
    const Point& point = series.points.back();
    const Latency all = round_trips(point);
    if (all.bins.empty()) {
      page.note(series.name + ": no buckets; run with --histograms.");
    } else {
      add_peaks(page, series, point, all);
      std::vector<At> curve;
      double seen = 0;
      for (const Bin& bin : analysis::coarser(all.bins, 400)) {
        seen += bin.count;
        if (bin.count > 0 && seen < all.count)
          curve.push_back({bin.high_ns, 1 - seen / all.count, 0, 0});
      }
      tail.line(series.name, curve);
      captions += (captions.empty() ? "" : " | ") + caption_of(series);
    }
    add_causes(page, series, point);
  }
  if (!tail.empty()) page.figure(tail.svg(), captions);
}

}  // namespace copykv::bench::html
