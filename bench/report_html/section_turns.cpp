// SPDX-License-Identifier: Apache-2.0
// What the daemons did in their turns, and where the time of a request went.
#include <fmt/format.h>

#include <algorithm>

#include "bench/analysis/gap.hpp"
#include "bench/report_html/report_html.hpp"

namespace copykv::bench::html {
namespace {

using analysis::DaemonFigures;
using analysis::Point;
using analysis::Series;
using analysis::Study;

template <class Value>
double mean_of_daemons(const Point& point, Value&& value) {
  double sum = 0;
  double count = 0;
  for (const auto& run : point.runs) {
    for (const DaemonFigures& daemon : run.daemons) {
      const double v = value(daemon);
      if (std::isnan(v)) continue;
      sum += v;
      count += 1;
    }
  }
  return count > 0 ? sum / count : analysis::kUnknown;
}

double turn_ns(const Point& point) {
  double time = 0;
  double turns = 0;
  for (const auto& run : point.runs) {
    for (const DaemonFigures& daemon : run.daemons) {
      time += run.seconds * 1e9;
      turns += daemon.turns;
    }
  }
  return turns > 0 ? time / turns : analysis::kUnknown;
}

double named(const std::vector<analysis::Named>& list, std::string_view name) {
  for (const auto& entry : list) {
    if (entry.name == name) return entry.value;
  }
  return analysis::kUnknown;
}

std::vector<std::string> turn_row(const Point& point) {
  std::vector<std::string> row = {fmt::format("{}", point.conditions.clients),
                                  short_text(turn_ns(point), Unit::nanoseconds)};
  for (const char* what :
       {"requests", "local", "remote", "answers", "inbound", "flushes", "ring_full"}) {
    row.push_back(short_text(
        mean_of_daemons(point, [&](const DaemonFigures& d) { return named(d.per_turn, what); }),
        Unit::number));
  }
  row.push_back(short_text(
      mean_of_daemons(point, [](const DaemonFigures& d) { return d.busy_fraction; }), Unit::share));
  row.push_back(
      short_text(mean_of_daemons(point, [](const DaemonFigures& d) { return d.ground_queue_mean; }),
                 Unit::number));
  return row;
}

void add_phases(Page& page, const Series& series) {
  const Point& point = series.points.back();
  analysis::RunFigures sums;
  for (const auto& run : point.runs) {
    for (const DaemonFigures& daemon : run.daemons) {
      for (const auto& phase : daemon.phases) {
        const auto same = [&](const auto& other) { return other.name == phase.name; };
        const auto found = std::find_if(sums.causes.begin(), sums.causes.end(), same);
        if (found == sums.causes.end()) {
          sums.causes.push_back(phase);
        } else {
          found->time += phase.time;
        }
      }
    }
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& phase : sums.causes) {
    if (phase.time.count <= 0) continue;
    const auto ns = [](double value) { return short_text(value, Unit::nanoseconds); };
    rows.push_back({phase.name, ns(phase.time.mean_ns), ns(phase.time.p50_ns),
                    ns(phase.time.p90_ns), ns(phase.time.p99_ns)});
  }
  page.table(fmt::format("{}, {} clients per rank: phases of a turn", series.name,
                         point.conditions.clients),
             {"phase", "mean", "p50", "p90", "p99"}, rows);
}

void add_stations(Page& page, const Series& series) {
  std::vector<analysis::Named> last = analysis::station_means(series.points.back());
  if (last.empty()) return;
  std::vector<Part> parts;
  parts.reserve(last.size());
  for (const auto& station : last) parts.push_back({station.name, station.value});
  page.figure(
      waterfall(fmt::format("{}, {} clients: a remote operation, station by station (means)",
                            series.name, series.points.back().conditions.clients),
                parts, Unit::nanoseconds),
      caption_of(series));
  const auto gap = analysis::station_gap(series.points.front(), series.points.back());
  if (series.points.size() < 2 || gap.empty()) return;
  std::vector<Part> grown;
  grown.reserve(gap.size());
  for (const auto& station : gap) grown.push_back({station.name, station.value});
  page.figure(waterfall(fmt::format("{}: what grew from {} to {} clients", series.name,
                                    series.points.front().conditions.clients,
                                    series.points.back().conditions.clients),
                        grown, Unit::nanoseconds),
              caption_of(series));
}

}  // namespace

void add_turns(Page& page, const Study& study) {
  page.heading("Turns: what each carried, phases, busy fraction");
  page.paragraph(
      "A turn counts as busy when it found work, each turn by itself. Time over turns "
      "includes turns that found nothing.");
  for (const Series* const swept : analysis::swept(study)) {
    const Series& series = *swept;
    std::vector<std::vector<std::string>> rows;
    for (const Point& point : series.points) {
      if (!std::isnan(turn_ns(point))) rows.push_back(turn_row(point));
    }
    page.table(caption_of(series),
               {"clients per rank", "time per turn", "requests", "local", "remote", "answers",
                "inbound", "flushes", "ring full", "busy turns", "lanes on ground queue"},
               rows);
    add_phases(page, series);
    add_stations(page, series);
  }
}

void add_means(Page& page, const Study& study) {
  page.heading("Local and remote operations, means with means");
  for (const Series* const swept : analysis::swept(study)) {
    const Series& series = *swept;
    std::vector<std::vector<std::string>> rows;
    for (const Point& point : series.points) {
      const analysis::CycleParts parts = analysis::cycle_parts(point);
      if (!parts.known) continue;
      const auto ns = [](double value) { return short_text(value, Unit::nanoseconds); };
      rows.push_back({fmt::format("{}", point.conditions.clients), ns(parts.cycle_ns),
                      ns(parts.think_ns), ns(parts.latency_ns), ns(parts.local_ns),
                      parts.remote_share > 0 ? ns(parts.remote_ns) : "-",
                      short_text(parts.remote_share, Unit::share)});
    }
    page.table(caption_of(series),
               {"clients per rank", "cycle N/X", "between operations Z", "latency W", "local",
                "remote", "share remote"},
               rows);
  }
}

}  // namespace copykv::bench::html
