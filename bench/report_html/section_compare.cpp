// SPDX-License-Identifier: Apache-2.0
// One rank against more, variants against each other, ranks and clients against each other, time,
// and objectives.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "bench/analysis/gap.hpp"
#include "bench/analysis/rank_test.hpp"
#include "bench/reference.hpp"
#include "bench/report_html/report_html.hpp"

namespace copykv::bench::html {
namespace {

using analysis::Point;
using analysis::Series;
using analysis::Study;

const Point* point_with(const Series& series, uint32_t clients) {
  for (const Point& point : series.points) {
    if (point.conditions.clients == clients) return &point;
  }
  return nullptr;
}

std::vector<double> rates_of(const Point& point) {
  std::vector<double> rates;
  for (const auto& run : point.runs) rates.push_back(run.rate_per_s / point.conditions.ranks);
  return rates;
}

bool comparable(const Series& a, const Series& b) {
  const auto& x = a.points.front().conditions;
  const auto& y = b.points.front().conditions;
  return x.simulated == y.simulated && !x.published && !y.published && x.depth == y.depth;
}

void add_one_gap(Page& page, const Series& one, const Series& many) {
  for (auto point = many.points.rbegin(); point != many.points.rend(); ++point) {
    const Point* const base = point_with(one, point->conditions.clients);
    if (base == nullptr) continue;
    const auto gap = analysis::cycle_gap(*base, *point);
    if (gap.empty()) return;
    std::vector<Part> parts = {{"cycle with one rank", analysis::cycle_parts(*base).cycle_ns}};
    for (const auto& part : gap) parts.push_back({part.name, part.value});
    page.figure(waterfall(fmt::format("{} clients: one rank, then {} ranks ({})",
                                      base->conditions.clients, point->conditions.ranks, many.name),
                          parts, Unit::nanoseconds),
                caption_of(one) + " | " + caption_of(many));
    return;
  }
}

void add_rank_table(Page& page, const Series& one, const Series& many) {
  std::vector<std::vector<std::string>> rows;
  for (const Point& point : many.points) {
    const Point* const base = point_with(one, point.conditions.clients);
    if (base == nullptr) continue;
    const auto of = [](const Point& p) {
      return p.over_runs([&](const auto& run) { return run.rate_per_s / p.conditions.ranks; });
    };
    const double ratio = base->rate().median > 0 ? of(point).median / of(*base).median : 0;
    rows.push_back({fmt::format("{}", point.conditions.clients),
                    interval_text(of(*base), Unit::rate), interval_text(of(point), Unit::rate),
                    fmt::format("{:.3g} x", ratio)});
  }
  page.table(fmt::format("{} | {}", caption_of(one), caption_of(many)),
             {"clients per rank", "one rank, ops/s", "of each of many, ops/s", "ratio"}, rows);
}

std::vector<std::vector<std::string>> variant_rows(const Series& base, const Series& other) {
  std::vector<std::vector<std::string>> rows;
  for (const Point& point : other.points) {
    const Point* const before = point_with(base, point.conditions.clients);
    if (before == nullptr) continue;
    const auto test = analysis::mann_whitney(rates_of(*before), rates_of(point));
    const auto p50 = [](const Point& p) {
      return p.over_runs(
          [](const auto& run) { return run.rtt.count > 0 ? run.rtt.p50_ns : run.all.p50_ns; });
    };
    rows.push_back(
        {other.name, fmt::format("{}", point.conditions.clients),
         interval_text(point.rate(), Unit::rate), interval_text(p50(point), Unit::nanoseconds),
         fmt::format("{:+.1f} %", 100 * (point.rate().median / before->rate().median - 1)),
         test.p_least > 0.05 ? std::string("too few runs") : fmt::format("{:.3g}", test.p_value)});
  }
  return rows;
}

void add_heat(Page& page, const Series& series) {
  std::vector<std::string> columns;
  std::vector<HeatRow> rows;
  for (const Point& point : series.points) {
    HeatRow row{fmt::format("{} clients", point.conditions.clients), {}};
    for (uint32_t rank = 0; rank < point.conditions.ranks; ++rank) {
      row.values.push_back(point
                               .over_runs([&](const auto& run) {
                                 return rank < run.ranks.size() ? run.ranks[rank].value
                                                                : analysis::kUnknown;
                               })
                               .median);
    }
    if (point.runs.empty() || point.runs.front().ranks.empty()) continue;
    rows.push_back(std::move(row));
    for (auto rank = static_cast<uint32_t>(columns.size()); rank < point.conditions.ranks; ++rank) {
      columns.push_back(fmt::format("rank {}", rank));
    }
  }
  if (rows.empty()) return;
  page.figure(
      heat_map(series.name + ": operations per second of each rank", columns, rows, Unit::rate),
      caption_of(series));
}

// Rate against the number of ranks, where series differ in nothing else.
void add_sizes(Page& page, const Study& study) {
  using Key = std::vector<std::pair<std::string, std::string>>;
  std::map<Key, std::map<uint32_t, std::pair<const Point*, std::string>>> lines;
  for (const Series& series : study.series) {
    for (const Point& point : series.points) {
      if (point.conditions.published) continue;
      Key key = point.conditions.settings;
      std::erase_if(key, [](const auto& setting) { return setting.first == "ranks"; });
      key.emplace_back("clients", fmt::format("{}", point.conditions.clients));
      lines[key].try_emplace(point.conditions.ranks, &point, series.name);
    }
  }
  Chart chart("Rate against the number of ranks", {"ranks", Unit::number, true},
              {"operations per second, all ranks", Unit::rate, true});
  std::string caption;
  bool nodes = false;
  for (const auto& [key, by_ranks] : lines) {
    if (by_ranks.size() < 3) continue;
    std::vector<At> points;
    for (const auto& [ranks, at] : by_ranks) {
      const MedianInterval rate = at.first->rate();
      points.push_back({double(ranks), rate.median, rate.low, rate.high});
    }
    const auto& [last, name] = by_ranks.rbegin()->second;
    nodes = nodes || last->conditions.clients == kReferenceNodeClients;
    chart.line(name, points).marks(name, points);
    caption = last->conditions.caption();
  }
  if (chart.empty()) return;
  if (nodes) {
    std::vector<At> best;
    for (const ReferenceNodes& row : dc_two_ranks().nodes) {
      best.push_back({double(row.nodes), row.best(), 0, 0});
    }
    chart.line("published, the best design at each size", best, true);
  }
  page.figure(chart.svg(), caption);
}

}  // namespace

void add_gap(Page& page, const Study& study) {
  page.heading("One rank against more, and the gap in parts");
  page.paragraph(
      "The cycle of a client, N/X, is split without a rest: between operations, local "
      "operations, and what being remote adds. The parts add up to the gap exactly.");
  bool any = false;
  for (const Series& one : study.series) {
    if (one.points.front().conditions.ranks != 1) continue;
    for (const Series* const swept : analysis::swept(study)) {
      const Series& many = *swept;
      if (many.points.front().conditions.ranks < 2 || !comparable(one, many)) continue;
      add_rank_table(page, one, many);
      add_one_gap(page, one, many);
      any = true;
    }
  }
  if (!any) page.note("No series with one rank stands beside one with several.");
}

void add_variants(Page& page, const Study& study) {
  page.heading("Variants and optimisations, with their significance");
  page.paragraph(
      "Each series against the first of the same kind (transport, ranks, group). p is "
      "of the Mann-Whitney test over runs, two-sided; where so few runs cannot reach "
      "0.05, it says so.");
  struct Base {
    const Series* series;
    std::vector<std::vector<std::string>> rows;
  };
  std::vector<Base> bases;
  for (const Series& series : study.series) {
    const auto& c = series.points.front().conditions;
    if (c.published) continue;
    const auto same = [&](const Base& base) {
      const auto& b = base.series->points.front().conditions;
      return b.transport == c.transport && b.ranks == c.ranks && b.simulated == c.simulated &&
             b.group == c.group;
    };
    const auto base = std::find_if(bases.begin(), bases.end(), same);
    if (base == bases.end()) {
      bases.push_back({&series, {}});
      continue;
    }
    const auto rows = variant_rows(*base->series, series);
    base->rows.insert(base->rows.end(), rows.begin(), rows.end());
  }
  for (const Base& base : bases) {
    page.table("against " + caption_of(*base.series),
               {"variant", "clients per rank", "ops/s, all ranks", "round trip p50",
                "rate against base", "p"},
               base.rows);
  }
  if (bases.size() == study.series.size()) page.note("No two series differ in settings alone.");
  add_sizes(page, study);
}

void add_balance(Page& page, const Study& study) {
  page.heading("Ranks and time");
  for (const Series* const series : analysis::swept(study)) add_heat(page, *series);
  Chart chart("Rate over time, busiest load, first run", {"second", Unit::number},
              {"operations per second", Unit::rate});
  std::string captions;
  for (const Series& series : study.series) {
    const auto& runs = series.points.back().runs;
    if (runs.empty() || runs.front().over_time.empty()) continue;
    std::vector<At> points;
    for (const auto& s : runs.front().over_time) points.push_back({s.x, s.y, 0, 0});
    chart.line(series.name, points);
    captions += (captions.empty() ? "" : " | ") + caption_of(series);
  }
  if (chart.empty()) {
    page.note("No document holds a time series.");
  } else {
    page.figure(chart.svg(), captions);
  }
}

void add_objectives(Page& page, const Study& study) {
  page.heading("Service level objectives");
  std::vector<std::vector<std::string>> rows;
  for (const Series& series : study.series) {
    for (const Point& point : series.points) {
      for (const auto& slo : point.slos) {
        rows.push_back({series.name, fmt::format("{}", point.conditions.clients), slo.text,
                        fmt::format("{:.4g}", slo.measured), slo.met ? "met" : "MISSED"});
      }
    }
  }
  if (rows.empty()) page.note("None were given; --slo 'get.p99<50us' adds one.");
  page.table("As judged by the runs themselves; durations in ns, rates per second.",
             {"series", "clients per rank", "objective", "measured", ""}, rows);
}

}  // namespace copykv::bench::html
