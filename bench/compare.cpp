// SPDX-License-Identifier: Apache-2.0
// `benchkv compare BASE NEW`: what became worse. Figures are medians over the runs of a document;
// the line round trips of both are shown, since a change of those is the machine's.
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <functional>
#include <optional>

#include <CLI/CLI.hpp>

#include "base/units.hpp"
#include "bench/commands.hpp"
#include "bench/confidence.hpp"

namespace copykv::bench {
namespace {

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

std::optional<double> median_of(const Json& document, const Figure& figure) {
  const Json::json_pointer path(figure.path);
  std::vector<double> values;
  for (const Json& run : document.at("runs")) {
    if (!run.contains(path) || !run.at(path).is_number()) return std::nullopt;
    values.push_back(run.at(path).get<double>());
  }
  if (values.empty()) return std::nullopt;
  return median_of_runs(std::move(values)).median;
}

// Flags that change what is measured, not how it is reported.
std::string different_settings(const Json& base, const Json& changed) {
  std::string names;
  for (const auto& [key, value] : base.at("config").items()) {
    if (key == "json" || key == "hgrm" || key == "quiet" || key == "histograms") continue;
    if (changed.at("config").value(key, Json()) == value) continue;
    names += (names.empty() ? "" : ", ") + key;
  }
  return names;
}

void compare_point(const Json& base, const Json& changed, double fail_over, Comparison& result) {
  for (const Figure& figure : kFigures) {
    const auto was = median_of(base, figure);
    const auto is = median_of(changed, figure);
    if (!was || !is || *was <= 0) continue;
    const double change = *is / *was - 1;
    const bool worse = (figure.more_is_better ? -change : change) > fail_over;
    result.worse = result.worse || worse;
    result.table += fmt::format("{:<18}{:>16.0f}{:>16.0f}{:>+9.1f} %{}\n", figure.name, *was, *is,
                                100 * change, worse ? "  WORSE" : "");
  }
  const auto line = [](const Json& document) {
    return document.at("line_rtt_ns").at("before").get<uint64_t>();
  };
  result.table += fmt::format("{:<18}{:>16}{:>16}   (of the machine)\n", "line rtt ns", line(base),
                              line(changed));
  const std::string different = different_settings(base, changed);
  if (!different.empty()) result.table += fmt::format("settings differ: {}\n", different);
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
  CLI::App app("benchkv compare: what became worse from one document to another",
               "benchkv compare");
  app.add_option("BASE", base_path, "document to compare with")->required();
  app.add_option("NEW", new_path, "document to judge")->required();
  app.add_option("--fail-over", allowed, "a figure may become worse by this much")
      ->capture_default_str();
  app.footer("Exit: 0 nothing became worse by more, 1 something did, 2 usage.");
  const auto fail = [](std::string_view line) {
    fmt::print(stderr, "benchkv: {}\n", line);
    return int{kExitUsage};
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    return fail(error.what());
  }
  const std::string_view percent = std::string_view(allowed).substr(0, allowed.find('%'));
  const Outcome<double> number = parse_number(percent);
  if (!number || *number < 0) return fail(fmt::format("--fail-over '{}': write 5%", allowed));
  const Outcome<Json> base = read_document(base_path);
  if (!base) return fail(base.error);
  const Outcome<Json> changed = read_document(new_path);
  if (!changed) return fail(changed.error);
  const auto compared = compare_documents(*base, *changed, *number / 100);
  if (!compared) return fail(compared.error);
  fmt::print("{:<18}{:>16}{:>16}{:>11}\n{}", "", "base", "new", "change", compared->table);
  return compared->worse ? kExitRunFailed : kExitOk;
}

}  // namespace copykv::bench
