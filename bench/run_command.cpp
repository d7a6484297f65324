// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdio>

#include "bench/commands.hpp"
#include "bench/interrupt.hpp"

namespace copykv::bench {

Outcome<void> write_outputs(const Report& report) {
  const RunOptions& options = report.options;
  if (!options.hgrm_path.empty()) {
    if (auto written = write_text(options.hgrm_path, to_hgrm(report)); !written) return written;
  }
  if (!options.hdr_path.empty()) {
    if (auto written = write_text(options.hdr_path, to_hdr(report)); !written) return written;
  }
  if (!options.json_path.empty()) {
    const std::string text = to_json(report).dump(2) + "\n";
    if (auto written = write_text(options.json_path, text); !written) return written;
  }
  // With the document on stdout nothing else goes there.
  if (options.quiet || options.json_path == "-") return {};
  return write_text("-", to_table(report));
}

void explain_exit(const Report& report) {
  if (!report.options.quiet && report.options.json_path != "-") return;  // the table says it
  for (size_t i = 0; i < report.runs.size(); ++i) {
    for (const std::string& line : report.runs[i].failures) {
      fmt::print(stderr, "benchkv: run {}: {}\n", i + 1, line);
    }
    if (const auto& wrong = report.runs[i].measured.first_wrong) {
      fmt::print(stderr, "benchkv: run {}: wrong data under key {}\n", i + 1, wrong->key);
    }
  }
  for (const SloVerdict& slo : report.slos) {
    if (!slo.met) fmt::print(stderr, "benchkv: SLO {}\n", slo.line);
  }
}

int run_command(int argc, const char* const* argv) {
  auto parsed = parse_run_options(argc, argv);
  if (const int* const code = std::get_if<int>(&parsed)) return *code;
  watch_interrupts();
  const auto& options = std::get<RunOptions>(parsed);
  if (options.follows()) return follow(options);
  const Outcome<Report> report = measure_point(options);
  if (!report) {
    fmt::print(stderr, "benchkv: {}\n", report.error);
    return interrupted() ? kExitInterrupted : kExitRunFailed;
  }
  explain_exit(*report);
  if (const auto written = write_outputs(*report); !written) {
    fmt::print(stderr, "benchkv: {}\n", written.error);
    return kExitRunFailed;
  }
  return report->exit_code();
}

}  // namespace copykv::bench
