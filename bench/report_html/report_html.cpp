// SPDX-License-Identifier: Apache-2.0
#include "bench/report_html/report_html.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace copykv::bench {

std::string to_html(const analysis::Study& study, const std::string& title) {
  html::Page page;
  html::add_conditions(page, study);
  html::add_scaling(page, study);
  html::add_littles_law(page, study);
  html::add_histogram(page, study);
  html::add_cycles(page, study);
  html::add_limits(page, study);
  html::add_turns(page, study);
  html::add_means(page, study);
  html::add_gap(page, study);
  html::add_variants(page, study);
  html::add_balance(page, study);
  html::add_objectives(page, study);
  return page.html(title);
}

}  // namespace copykv::bench

namespace copykv::bench::html {

std::string interval_text(const MedianInterval& interval, Unit unit) {
  if (interval.median == 0 && interval.high == 0) return "-";
  std::string median = short_text(interval.median, unit);
  if (interval.coverage <= 0) return median;
  std::string low = short_text(interval.low, unit);
  const std::string high = short_text(interval.high, unit);
  const auto unit_of = [](const std::string& text) { return text.substr(text.find(' ') + 1); };
  if (low.find(' ') != std::string::npos && unit_of(low) == unit_of(high)) {
    low.resize(low.find(' '));
  }
  return fmt::format("{} ({} to {})", median, low, high);
}

std::string caption_of(const analysis::Series& series) {
  size_t least = SIZE_MAX;
  size_t most = 0;
  for (const analysis::Point& point : series.points) {
    least = std::min(least, point.runs.size());
    most = std::max(most, point.runs.size());
  }
  const std::string runs =
      least == most ? fmt::format("{}", most) : fmt::format("{} to {}", least, most);
  return fmt::format("{}: {}; {} run{} per point", series.name,
                     series.points.front().conditions.caption(), runs, most == 1 ? "" : "s");
}

void add_conditions(Page& page, const analysis::Study& study) {
  page.heading("What was measured, and how");
  std::vector<std::vector<std::string>> rows;
  bool few_runs = false;
  const auto swept = analysis::swept(study);
  for (const analysis::Series* const chosen : swept) {
    const analysis::Series& series = *chosen;
    const analysis::Conditions& c = series.points.front().conditions;
    std::string clients;
    size_t runs = 0;
    for (const analysis::Point& point : series.points) {
      clients += fmt::format("{}{}", clients.empty() ? "" : ", ", point.conditions.clients);
      runs = std::max(runs, point.runs.size());
    }
    few_runs = few_runs || (runs < 5 && !c.published);
    rows.push_back({series.name,
                    c.published   ? "published"
                    : c.simulated ? "simulated"
                                  : "measured",
                    c.transport, fmt::format("{} x {}", c.ranks, c.daemons), clients,
                    fmt::format("{}", c.depth), fmt::format("{}", runs), c.cpu,
                    c.commit.empty() ? "-" : c.commit});
  }
  page.table("Simulated figures come from virtual time and are predictions, whatever the machine.",
             {"series", "kind", "transport", "ranks x daemons", "clients per rank", "depth", "runs",
              "machine", "commit"},
             rows);
  if (swept.size() < study.series.size()) {
    page.note(fmt::format("{} more series of one or two loads stand among the variants.",
                          study.series.size() - swept.size()));
  }
  if (few_runs) {
    page.warning(
        "Some series have fewer than five runs: an interval over them is worth little, and "
        "a difference between series may be the drift between runs.");
  }
  for (const analysis::Series& series : study.series) {
    for (const analysis::Point& point : series.points) {
      for (const analysis::RunFigures& run : point.runs) {
        for (const std::string& failure : run.failures) {
          page.warning(fmt::format("{}, {} clients: a run failed: {}", series.name,
                                   point.conditions.clients, failure));
        }
      }
    }
  }
  for (const std::string& skipped : study.skipped) page.note("not read: " + skipped);
  page.note(
      fmt::format("Intervals in brackets are over runs: {}. Means are compared with means "
                  "and medians with medians; rates are of all ranks that reported, never one "
                  "rank's times their number.",
                  kIntervalMethod));
}

}  // namespace copykv::bench::html
