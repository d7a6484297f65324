// SPDX-License-Identifier: Apache-2.0
// One run document per point of a list: `benchkv sweep --client-threads 1,2,4 --queue-depth 1,64`.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/units.hpp"
#include "bench/commands.hpp"
#include "bench/interrupt.hpp"

namespace copykv::bench {
namespace {

// Flags of one number: a comma in their value cannot mean anything else. (--value-bytes and
// --distribution use commas themselves.)
constexpr std::array kNumericFlags = {"--ranks",       "--daemon-threads", "--client-threads",
                                      "--queue-depth", "--key-range",      "--key-bytes",
                                      "--read-ratio",  "--local-ratio",    "--rate",
                                      "--seed",        "--duration",       "--memory"};

bool is_numeric_flag(std::string_view name) {
  return std::find(kNumericFlags.begin(), kNumericFlags.end(), name) != kNumericFlags.end();
}

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> items;
  for (;;) {
    const size_t comma = list.find(',');
    items.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) return items;
    list.remove_prefix(comma + 1);
  }
}

std::string point_line(const Report& report) {
  std::string line;
  if (report.runs.empty()) return "nothing was measured";
  const Measurement& m = report.runs.back().measured;
  const Histogram all = m.service.all();
  return fmt::format("{}{:>9} ops/s  p50 {:>8}  p99 {:>8}  {}",
                     report.host.simulated ? "simulated " : "", round_count(m.ops_per_second()),
                     round_duration(all.percentile_ns(50)), round_duration(all.percentile_ns(99)),
                     report.exit_code() == kExitOk ? "ok" : "FAILED");
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::variant<RunOptions, int> parse_point(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"benchkv"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  return parse_run_options(static_cast<int>(argv.size()), argv.data());
}

// The worst of the points, in the order in which a person would look at them.
int worse_code(int a, int b) {
  constexpr std::array kOrder = {int{kExitWrongData}, int{kExitRunFailed}, int{kExitInterrupted},
                                 int{kExitSloMissed}};
  for (const int code : kOrder) {
    if (a == code || b == code) return code;
  }
  return kExitOk;
}

int follow_all(const std::vector<RunOptions>& points) {
  int code = kExitOk;
  for (size_t i = 0; i < points.size() && code == kExitOk && !interrupted(); ++i) {
    code = follow(points[i]);
  }
  return code;
}

bool names(const std::string& argument, std::string_view flag) {
  return argument == flag || argument.starts_with(std::string(flag) + "=");
}

}  // namespace

void add_preset_lists(std::vector<std::string>& arguments) {
  bool is_rtt_analysis = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (names(arguments[i], "--client-threads")) return;
    is_rtt_analysis = is_rtt_analysis || arguments[i] == "--preset=rtt-analysis" ||
                      (arguments[i] == "--preset" && i + 1 < arguments.size() &&
                       arguments[i + 1] == "rtt-analysis");
  }
  if (is_rtt_analysis) arguments.insert(arguments.end(), {"--client-threads", "1,2,4,8,16"});
}

std::vector<std::vector<std::string>> expand_sweep(const std::vector<std::string>& arguments) {
  std::vector<std::vector<std::string>> lines = {{}};
  const auto append_each = [&lines](const std::vector<std::string>& choices) {
    std::vector<std::vector<std::string>> longer;
    for (const auto& line : lines) {
      for (const std::string& choice : choices) {
        longer.push_back(line);
        longer.back().push_back(choice);
      }
    }
    lines = std::move(longer);
  };
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const size_t equals = argument.find('=');
    if (is_numeric_flag(argument) && i + 1 < arguments.size()) {
      append_each({argument});
      append_each(split(arguments[++i]));
    } else if (equals != std::string::npos && is_numeric_flag(argument.substr(0, equals))) {
      std::vector<std::string> choices = split(argument.substr(equals + 1));
      for (std::string& choice : choices) choice.insert(0, argument, 0, equals + 1);
      append_each(choices);
    } else {
      append_each({argument});
    }
  }
  return lines;
}

int sweep_command(int argc, const char* const* argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  add_preset_lists(arguments);
  const auto lines = expand_sweep(arguments);
  std::vector<RunOptions> points;
  for (const auto& line : lines) {  // all of them first: a wrong last point must not cost an hour
    auto parsed = parse_point(line);
    if (const int* const code = std::get_if<int>(&parsed)) return *code;
    points.push_back(std::move(std::get<RunOptions>(parsed)));
    points.back().point = static_cast<uint32_t>(points.size() - 1);
  }
  if (!points.front().hgrm_path.empty() || !points.front().hdr_path.empty()) {
    fmt::print(stderr, "benchkv: --hgrm and --hdr hold one point: take --json with --histograms\n");
    return kExitUsage;
  }
  watch_interrupts();
  if (points.front().follows()) return follow_all(points);
  Json documents = Json::array();
  int code = kExitOk;
  const RunOptions& first = points.front();
  for (size_t i = 0; i < points.size() && !interrupted(); ++i) {
    const Outcome<Report> report = measure_point(points[i]);
    if (!report) {
      fmt::print(stderr, "benchkv: {}: {}\n", join(lines[i]), report.error);
      return kExitRunFailed;
    }
    explain_exit(*report);
    documents.push_back(to_json(*report));
    code = worse_code(code, report->exit_code());
    if (!first.quiet && first.json_path != "-") {
      fmt::print("{}  {}\n", point_line(*report), join(lines[i]));
      std::fflush(stdout);
    }
  }
  if (first.json_path.empty()) return code;
  const Json sweep = {{"schema", 1}, {"points", std::move(documents)}};
  if (const auto written = write_text(first.json_path, sweep.dump(2) + "\n"); !written) {
    fmt::print(stderr, "benchkv: {}\n", written.error);
    return kExitRunFailed;
  }
  return code;
}

}  // namespace copykv::bench
