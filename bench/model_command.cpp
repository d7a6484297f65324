// SPDX-License-Identifier: Apache-2.0
// `benchkv model FILE|DIR`: which explanation of a sweep its own points support.
#include <fmt/format.h>

#include <cstdio>
#include <optional>

#include <CLI/CLI.hpp>

#include "bench/analysis/model_report.hpp"
#include "bench/command_line.hpp"
#include "bench/commands.hpp"

namespace copykv::bench {
namespace {

// STATION=FILE: a result with that station made cheaper; its gain at the largest load that both
// measured.
Outcome<analysis::WhatIf> read_what_if(const std::string& text, const analysis::Series& base) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return Failure{"--what-if: write STATION=FILE"};
  const auto study = analysis::read_study(text.substr(equals + 1));
  if (!study) return Failure{study.error};
  const auto changed = analysis::load_points(study->series.front());
  const auto points = analysis::load_points(base);
  for (auto point = points.rbegin(); point != points.rend(); ++point) {
    for (const analysis::LoadPoint& other : changed) {
      if (other.customers != point->customers) continue;
      return analysis::WhatIf{text.substr(0, equals), other.rate_per_s / point->rate_per_s - 1};
    }
  }
  return Failure{fmt::format("--what-if {}: no load in common with the result", text)};
}

}  // namespace

int model_command(int argc, const char* const* argv) {
  std::string path;
  std::string what_if_text;
  CLI::App app(
      "benchkv model: fits models of a closed system to a sweep and judges them on the "
      "points they have not seen",
      "benchkv model");
  app.add_option("FILE", path, "result of benchkv sweep, a directory of results, or 'published'")
      ->required();
  app.add_option(
      "--what-if", what_if_text,
      "STATION=FILE: a result with that station made cheaper, to confirm what saturates");
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  const auto study = analysis::read_study(path);
  if (!study) return fail(study.error, kExitUsage);
  for (const analysis::Series& series : study->series) {
    std::optional<analysis::WhatIf> what_if;
    if (!what_if_text.empty()) {
      const auto read = read_what_if(what_if_text, series);
      if (!read) return fail(read.error, kExitUsage);
      what_if = *read;
    }
    fmt::print("{}\n", analysis::to_text(series, analysis::explain(series, what_if)));
  }
  return kExitOk;
}

}  // namespace copykv::bench
