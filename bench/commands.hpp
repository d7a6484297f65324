// SPDX-License-Identifier: Apache-2.0
// The commands of benchkv. Each takes the command line that follows its name (with the name of the
// program in front) and returns the exit code.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "bench/report.hpp"

namespace copykv::bench {

[[nodiscard]] int run_command(int argc, const char* const* argv);
[[nodiscard]] int sweep_command(int argc, const char* const* argv);
[[nodiscard]] int compare_command(int argc, const char* const* argv);
[[nodiscard]] int fit_command(int argc, const char* const* argv);
[[nodiscard]] int reproduce_command(int argc, const char* const* argv);
[[nodiscard]] int model_command(int argc, const char* const* argv);
[[nodiscard]] int plan_command(int argc, const char* const* argv);
[[nodiscard]] int report_command(int argc, const char* const* argv);

/// What report_command does: results (files, directories, "published") as one HTML file.
[[nodiscard]] Outcome<void> write_html_report(const std::vector<std::string>& paths,
                                              const std::string& output, const std::string& title);

/// Writes what the options of a point ask for: table, document, percentiles. `document` is what
/// goes to --json.
[[nodiscard]] Outcome<void> write_outputs(const Report& report);

/// Errors for stderr, also with --quiet: why the exit code is not 0.
void explain_exit(const Report& report);

/// Adds the list that a preset sweeps: rtt-analysis its clients, unless they are given.
void add_preset_lists(std::vector<std::string>& arguments);

/// The command lines of a sweep: every flag of a number that was given a list of numbers is taken
/// apart, the last one fastest. One command line when there is no list.
[[nodiscard]] std::vector<std::vector<std::string>> expand_sweep(
    const std::vector<std::string>& arguments);

/// What differs between two documents (points of a sweep are compared in order).
struct Comparison {
  std::string table{};
  std::string markdown{};
  bool worse = false;     ///< beyond what was allowed, and significantly
  bool untested = false;  ///< something changed by more, with too few runs to say whether by chance
};
[[nodiscard]] Outcome<Comparison> compare_documents(const Json& base, const Json& changed,
                                                    double fail_over);

}  // namespace copykv::bench
