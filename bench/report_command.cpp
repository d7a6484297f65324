// SPDX-License-Identifier: Apache-2.0
// `benchkv report FILE... -o report.html`: results as one HTML file.
#include <fmt/format.h>

#include <cstdio>

#include <CLI/CLI.hpp>

#include "bench/command_line.hpp"
#include "bench/commands.hpp"
#include "bench/report_html/report_html.hpp"

namespace copykv::bench {

Outcome<void> write_html_report(const std::vector<std::string>& paths, const std::string& output,
                                const std::string& title) {
  analysis::Study study;
  for (const std::string& path : paths) {
    auto read = analysis::read_study(path);
    if (!read) return Failure{read.error};
    analysis::join(std::move(*read), study);
  }
  analysis::arrange(study);
  return write_text(output, to_html(study, title));
}

int report_command(int argc, const char* const* argv) {
  std::vector<std::string> paths;
  std::string output = "report.html";
  std::string title = "copykv: round trips, measured and explained";
  CLI::App app("benchkv report: results as one HTML file that needs nothing else",
               "benchkv report");
  app.add_option("FILE", paths,
                 "results of benchkv run or sweep, directories of results, or 'published'")
      ->required();
  app.add_option("-o,--output", output, "where to write; - is stdout")->capture_default_str();
  app.add_option("--title", title, "its heading")->capture_default_str();
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  if (const auto written = write_html_report(paths, output, title); !written) {
    return fail(written.error, kExitUsage);
  }
  return kExitOk;
}

}  // namespace copykv::bench
