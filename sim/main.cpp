// SPDX-License-Identifier: Apache-2.0
// copykv-sim: whole clusters under virtual time and faults, every answer checked.
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/checked.hpp"
#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/program.hpp"
#include "sim/run.hpp"

namespace copykv::sim {
namespace {

struct Spec {
  RunOptions run{};
  uint64_t seeds = 1;
  double soak_seconds = 0;
  std::string faults = "all";
  bool every_fault = false;
  bool quiet = false;
  std::string json{};
  std::string keep{};
  std::string bug{};
  bool twice = false;
};

/// Sums of all runs.
struct Sums {
  uint64_t seeds = 0;
  uint64_t failed = 0;
  uint64_t operations = 0;
  uint64_t virtual_ns = 0;
  uint64_t turns = 0;
  uint64_t posts = 0;
  uint64_t garbage_words = 0;
  std::array<uint64_t, kFaultCount> faults{};
  std::array<uint64_t, kStatusCount> by_status{};

  void add(const RunReport& report) {
    ++seeds;
    failed += report.ok() ? 0 : 1;
    operations += report.operations;
    virtual_ns += report.virtual_ns;
    turns += report.turns;
    posts += report.posts;
    garbage_words += report.garbage_words;
    for (uint32_t kind = 0; kind < kFaultCount; ++kind) faults[kind] += report.fault_counts[kind];
    for (uint32_t status = 0; status < kStatusCount; ++status) {
      by_status[status] += report.by_status[status];
    }
  }
};

nlohmann::json json_of(const Sums& sums, double seconds) {
  nlohmann::json faults;
  for (uint32_t kind = 0; kind < kFaultCount; ++kind) {
    faults[std::string(fault_infos()[kind].name)] = sums.faults[kind];
  }
  return {{"simulated", true},
          {"seeds", sums.seeds},
          {"violations", sums.failed},
          {"operations_checked", sums.operations},
          {"virtual_seconds", static_cast<double>(sums.virtual_ns) / 1e9},
          {"turns", sums.turns},
          {"posts", sums.posts},
          {"garbage_words", sums.garbage_words},
          {"faults", faults},
          {"seconds", seconds}};
}

void print_sums(const Sums& sums, double seconds) {
  fmt::print("{} seeds, {} operations checked in {:.1f} s; {} daemon turns, {} posts\n", sums.seeds,
             sums.operations, seconds, sums.turns, sums.posts);
  for (uint8_t status = 0; status < kStatusCount; ++status) {
    if (sums.by_status[status] == 0) continue;
    fmt::print("  {:<22}{:>12}\n", to_string(static_cast<Status>(status)), sums.by_status[status]);
  }
  for (uint32_t kind = 0; kind < kFaultCount; ++kind) {
    if (sums.faults[kind] == 0) continue;
    fmt::print("  fault {:<16}{:>12}\n", fault_infos()[kind].name, sums.faults[kind]);
  }
}

/// False: it failed, and the failure was told.
bool run_seed(const Spec& spec, uint64_t seed, Sums& sums) {
  RunOptions options = spec.run;
  options.seed = seed;
  Outcome<RunReport> report = run_simulation(options);
  if (!report) throw std::runtime_error(report.error);
  if (report->ok() && spec.twice) {
    const Outcome<RunReport> again = run_simulation(options);
    if (!again || again->trace_hash != report->trace_hash) {
      report->violation = "the same seed gives another run: something leaks in";
    }
  }
  sums.add(*report);
  if (!spec.quiet) {
    fmt::print("seed {}: {} operations, {:.1f} ms, trace {:016x}, faults {}\n", seed,
               report->operations, static_cast<double>(report->virtual_ns) / 1e6,
               report->trace_hash, to_string(report->faults));
  }
  if (report->ok()) return true;
  fmt::print("VIOLATION {}\n{}  {}{}\n", report->violation, report->story, command_of(options),
             spec.bug.empty() ? "" : fmt::format(" --planted-bug {}", spec.bug));
  std::fflush(stdout);
  if (!spec.keep.empty()) {
    const std::string path = fmt::format("{}/seed-{}.history", spec.keep, seed);
    if (const auto saved = save(report->history, path); !saved) {
      fmt::print(stderr, "copykv-sim: {}\n", saved.error);
    }
  }
  return false;
}

int run_all(const Spec& spec) {
  Sums sums;
  const uint64_t began_ns = kSystemClock.now_ns();
  const auto seconds = [&] { return static_cast<double>(kSystemClock.now_ns() - began_ns) / 1e9; };
  for (uint64_t index = 0;; ++index) {
    if (spec.soak_seconds > 0 ? seconds() >= spec.soak_seconds : index >= spec.seeds) break;
    const bool ok = run_seed(spec, spec.run.seed + index, sums);
    if (!ok && spec.soak_seconds == 0) break;
  }
  print_sums(sums, seconds());
  if (!spec.json.empty()) {
    const std::string text = json_of(sums, seconds()).dump(2) + "\n";
    if (spec.json == "-") {
      fmt::print("{}", text);
    } else if (!(std::ofstream(spec.json) << text)) {
      throw std::runtime_error(fmt::format("cannot write {}", spec.json));
    }
  }
  fmt::print("{}\n", sums.failed == 0 ? "ok" : fmt::format("VIOLATION in {} runs", sums.failed));
  return sums.failed == 0 ? 0 : 1;
}

int program(int argc, char** argv) {
  CLI::App app("copykv-sim: whole clusters under virtual time and faults, every answer checked");
  Spec spec;
  app.add_option("--seed", spec.run.seed, "of the first run");
  app.add_option("--seeds", spec.seeds, "runs, each with the next seed")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 40));
  app.add_option("--ranks", spec.run.ranks, "ranks of the cluster")->check(CLI::Range(1, 64));
  app.add_option("--clients", spec.run.clients, "clients of each rank")->check(CLI::Range(1, 40));
  app.add_option("--depth", spec.run.depth_max, "largest queue depth of a client")
      ->check(CLI::Range(1, 64));
  app.add_option("--operations", spec.run.operations, "under faults, by all clients together");
  app.add_option("--keys", spec.run.keys, "keys that they share")->check(CLI::Range(1, 100'000));
  app.add_option("--faults", spec.faults, "all, none, or names with commas");
  app.add_flag("--every-fault", spec.every_fault, "all of them in each run, not some by the seed");
  app.add_option("--profile", spec.run.profile, "costs: a name, or a .toml file");
  app.add_option("--soak", spec.soak_seconds, "run for so many seconds; goes on after a violation");
  app.add_option("--keep", spec.keep, "directory for the histories of violations")
      ->check(CLI::ExistingDirectory);
  app.add_option("--planted-bug", spec.bug, "break a rule: the run must find it");
  app.add_flag("--twice", spec.twice, "each seed twice: the traces must be the same");
  app.add_option("--json", spec.json, "sums as JSON into a file, or - for stdout");
  app.add_flag("--quiet", spec.quiet, "only violations and sums");
  CLI11_PARSE(app, argc, argv);
  set_log_name("copykv-sim");
  // What ranks log of their peers would bury what this program says.
  if (std::getenv("COPYKV_LOG") == nullptr) set_log_level(LogLevel::error);
  const auto faults = parse_faults(spec.faults);
  if (!faults) {
    fmt::print(stderr, "copykv-sim: --faults: {}\n", faults.error);
    return 2;
  }
  spec.run.faults = *faults;
  spec.run.subset = !spec.every_fault;
  if (!spec.bug.empty()) {
    Checked::planted = planted_bug_of(spec.bug);
    if (Checked::planted == PlantedBug::none) {
      std::string known;
      for (const PlantedBugInfo& info : planted_bugs()) {
        known += fmt::format("\n  {:<20}{}", info.name, info.what);
      }
      fmt::print(stderr, "copykv-sim: '{}' is no planted bug; there are:{}\n", spec.bug, known);
      return 2;
    }
  }
  return run_all(spec);
}

}  // namespace
}  // namespace copykv::sim

int main(int argc, char** argv) {
  return copykv::run_program("copykv-sim", copykv::sim::program, argc, argv);
}
