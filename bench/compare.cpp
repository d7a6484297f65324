// SPDX-License-Identifier: Apache-2.0
// `benchkv compare BASE NEW`: what became worse. Figures are medians over the runs of a document
// with their intervals; the line round trips of both are shown, since a change of those is the
// machine's. A verdict takes a change beyond the allowance and a Mann-Whitney test over the runs
// that agrees: four runs on each side are the fewest that can.
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <fstream>

#include <CLI/CLI.hpp>

#include "base/units.hpp"
#include "bench/analysis/rank_test.hpp"
#include "bench/command_line.hpp"
#include "bench/commands.hpp"
#include "bench/confidence.hpp"

namespace copykv::bench {
namespace {

constexpr double kSignificant = 0.05;

struct Figure {
  const char* name;
  const char* path;  ///< within a run
  bool more_is_better;
};
constexpr std::array kFigures = {
    Figure{"ops/s", "/ops_per_second", true},
    Figure{"p50 ns", "/latency_ns/all/p50", false},
    Figure{"p99 ns", "/latency_ns/all/p99", false},
    Figure{"response p50 ns", "/response_ns/all/p50", false},
    Figure{"response p99 ns", "/response_ns/all/p99", false},
};

std::vector<double> values_of(const Json& document, const Figure& figure) {
  const Json::json_pointer path(figure.path);
  std::vector<double> values;
  for (const Json& run : document.at("runs")) {
    if (!run.contains(path) || !run.at(path).is_number()) return {};
    values.push_back(run.at(path).get<double>());
  }
  return values;
}

std::string interval_text(const MedianInterval& interval) {
  if (interval.coverage <= 0) return fmt::format("{:.0f}", interval.median);
  return fmt::format("{:.0f} ({:.0f} to {:.0f})", interval.median, interval.low, interval.high);
}

// A change alone may be the drift between runs, and significance alone may be a trifle: only both
// together are a verdict.
void compare_figure(const Json& base, const Json& changed, const Figure& figure, double fail_over,
                    Comparison& result) {
  const std::vector<double> before = values_of(base, figure);
  const std::vector<double> after = values_of(changed, figure);
  const MedianInterval was = median_of_runs(before);
  const MedianInterval is = median_of_runs(after);
  if (before.empty() || after.empty() || was.median <= 0) return;
  const double change = is.median / was.median - 1;
  const double harm = figure.more_is_better ? -change : change;
  const auto test = analysis::mann_whitney(before, after);
  const bool testable = test.p_least <= kSignificant;
  const bool significant = testable && test.p_value <= kSignificant;
  std::string_view verdict = "same";
  if (significant && harm > fail_over) {
    verdict = "WORSE";
    result.worse = true;
  } else if (!testable && std::abs(change) > fail_over) {
    verdict = "not tested: too few runs";
    result.untested = true;
  } else if (significant) {
    verdict = harm > 0 ? "worse, within the allowance" : "better";
  }
  const std::string p = testable ? fmt::format("{:.3f}", test.p_value) : "-";
  result.table += fmt::format("{:<17}{:>26}{:>26}{:>+9.1f} %{:>8}  {}\n", figure.name,
                              interval_text(was), interval_text(is), 100 * change, p, verdict);
  result.markdown += fmt::format("| {} | {} | {} | {:+.1f} % | {} | {} |\n", figure.name,
                                 interval_text(was), interval_text(is), 100 * change, p, verdict);
}

// Flags that change what is measured, not how it is reported.
std::string different_settings(const Json& base, const Json& changed) {
  std::string names;
  for (const auto& [key, value] : base.at("config").items()) {
    if (key == "json" || key == "hgrm" || key == "hdr" || key == "quiet" || key == "histograms")
      continue;
    if (changed.at("config").value(key, Json()) == value) continue;
    names += (names.empty() ? "" : ", ") + key;
  }
  return names;
}

void compare_point(const Json& base, const Json& changed, double fail_over, Comparison& result) {
  for (const Figure& figure : kFigures) compare_figure(base, changed, figure, fail_over, result);
  const auto line = [](const Json& document) {
    return document.at("line_rtt_ns").at("before").get<uint64_t>();
  };
  result.table += fmt::format("{:<17}{:>26}{:>26}   (of the machine)\n", "line rtt ns", line(base),
                              line(changed));
  result.markdown +=
      fmt::format("| line rtt ns, of the machine | {} | {} | | | |\n", line(base), line(changed));
  const std::string different = different_settings(base, changed);
  if (different.empty()) return;
  result.table += fmt::format("settings differ: {}\n", different);
  result.markdown += fmt::format("\nSettings differ: {}\n", different);
}

std::vector<Json> points_of(const Json& document) {
  if (document.contains("points")) return document.at("points").get<std::vector<Json>>();
  return {document};
}

Outcome<Json> read_document(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Failure{fmt::format("cannot read {}", path)};
  Json document = Json::parse(file, nullptr, false);
  if (document.is_discarded()) return Failure{fmt::format("{} is not JSON", path)};
  return document;
}

}  // namespace

Outcome<Comparison> compare_documents(const Json& base, const Json& changed, double fail_over) {
  Comparison result;
  try {
    for (const Json* document : {&base, &changed}) {
      if (document->at("schema") != 1) return Failure{"this benchkv compares schema 1"};
    }
    const std::vector<Json> before = points_of(base);
    const std::vector<Json> after = points_of(changed);
    if (before.size() != after.size()) {
      return Failure{
          fmt::format("{} points against {}: not the same sweep", before.size(), after.size())};
    }
    for (size_t i = 0; i < before.size(); ++i) {
      if (before[i].at("host").at("simulated") != after[i].at("host").at("simulated")) {
        return Failure{"one document is simulated and the other measured"};
      }
      if (before.size() > 1) result.table += fmt::format("point {}\n", i + 1);
      result.markdown += fmt::format(
          "\n{}{}, commit {} against {}\n\n| | base | new | change | p | "
          "|\n|---|--:|--:|--:|--:|---|\n",
          before.size() > 1 ? fmt::format("Point {}: ", i + 1) : std::string(),
          after[i].at("host").at("simulated") == true ? "simulated" : "measured",
          after[i].at("host").value("commit", "?"), before[i].at("host").value("commit", "?"));
      compare_point(before[i], after[i], fail_over, result);
    }
  } catch (const nlohmann::json::exception& error) {
    return Failure{fmt::format("not a benchkv document: {}", error.what())};
  }
  return result;
}

int compare_command(int argc, const char* const* argv) {
  std::string base_path;
  std::string new_path;
  std::string allowed = "5%";
  std::string markdown_path;
  CLI::App app("benchkv compare: what became worse from one document to another",
               "benchkv compare");
  app.add_option("BASE", base_path, "document to compare with")->required();
  app.add_option("NEW", new_path, "document to judge")->required();
  app.add_option("--fail-over", allowed, "a figure may become worse by this much")
      ->capture_default_str();
  app.add_option("--markdown", markdown_path, "write the table as Markdown there; - is stdout");
  app.footer(
      "Exit: 0 nothing became worse by more, 1 something did (the change and a Mann-Whitney test "
      "over the runs, p <= 0.05, both say so; fewer than four runs each cannot), 2 usage.");
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  const std::string_view percent = std::string_view(allowed).substr(0, allowed.find('%'));
  const Outcome<double> number = parse_number(percent);
  if (!number || *number < 0)
    return fail(fmt::format("--fail-over '{}': write 5%", allowed), kExitUsage);
  const Outcome<Json> base = read_document(base_path);
  if (!base) return fail(base.error, kExitUsage);
  const Outcome<Json> changed = read_document(new_path);
  if (!changed) return fail(changed.error, kExitUsage);
  const auto compared = compare_documents(*base, *changed, *number / 100);
  if (!compared) return fail(compared.error, kExitUsage);
  if (markdown_path != "-") {
    fmt::print("{:<17}{:>26}{:>26}{:>11}{:>8}\n{}", "", "base", "new", "change", "p",
               compared->table);
  }
  if (compared->untested) {
    fmt::print(stderr, "benchkv: some changes could not be tested: take --runs 5 for each side\n");
  }
  if (!markdown_path.empty()) {
    const std::string verdict = compared->worse ? "**Worse**" : "Not worse";
    const std::string head =
        fmt::format("### benchkv compare\n\n{} (allowed: {}).\n", verdict, allowed);
    if (const auto written = write_text(markdown_path, head + compared->markdown); !written) {
      return fail(written.error, kExitUsage);
    }
  }
  return compared->worse ? kExitRunFailed : kExitOk;
}

}  // namespace copykv::bench
