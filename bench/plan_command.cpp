// SPDX-License-Identifier: Apache-2.0
// `benchkv plan FILE --rate 10M --p99 50us`: a fitted model and a target, turned into a job.
#include <fmt/format.h>

#include <cstdio>

#include <CLI/CLI.hpp>

#include "base/units.hpp"
#include "bench/analysis/plan.hpp"
#include "bench/command_line.hpp"
#include "bench/commands.hpp"

namespace copykv::bench {
namespace {

struct PlanFlags {
  std::string path{};
  std::string rate{};
  std::string p99{};
  std::string items = "0";
  std::string item_bytes = "16";
};

// "10M", "2.5e6".
Outcome<double> parse_rate(const std::string& text) {
  double scale = 1;
  std::string digits = text;
  if (!digits.empty() && std::string_view("kKMG").find(digits.back()) != std::string_view::npos) {
    scale = digits.back() == 'G' ? 1e9 : digits.back() == 'M' ? 1e6 : 1e3;
    digits.pop_back();
  }
  const Outcome<double> number = parse_number(digits);
  if (number && *number > 0) return *number * scale;
  return Failure{fmt::format("'{}': write a number such as 10M", text)};
}

Outcome<analysis::Target> target_of(const PlanFlags& flags) {
  analysis::Target target;
  const auto rate = parse_rate(flags.rate);
  if (!rate) return Failure{"--rate " + rate.error};
  target.rate_per_s = *rate;
  if (!flags.p99.empty()) {
    const auto p99 = parse_duration_ns(flags.p99);
    if (!p99) return Failure{"--p99: " + p99.error};
    target.p99_s = static_cast<double>(*p99) / 1e9;
  }
  if (flags.items != "0") {
    const auto items = parse_rate(flags.items);
    if (!items) return Failure{"--items " + items.error};
    target.items = static_cast<uint64_t>(*items);
  }
  const auto bytes = parse_bytes(flags.item_bytes);
  if (!bytes) return Failure{"--item-bytes: " + bytes.error};
  target.item_bytes = *bytes;
  return target;
}

void print_plan(const analysis::Series& series, const analysis::Plan& plan) {
  const auto time = [](double seconds) {
    return std::isnan(seconds) ? std::string("unknown")
                               : round_duration(static_cast<uint64_t>(seconds * 1e9));
  };
  fmt::print("{}\n  {}\n", series.name, series.points.front().conditions.caption());
  fmt::print("ranks             {}\n", plan.ranks);
  fmt::print("daemons per rank  {} (as measured)\n", plan.daemons_per_rank);
  fmt::print("clients per rank  {} at depth {}\n", plan.clients_per_rank, plan.depth);
  if (plan.memory_per_rank_bytes > 0) {
    fmt::print("memory per rank   {} (--memory)\n", round_bytes(plan.memory_per_rank_bytes));
  }
  fmt::print("gives             {} ops/s, mean {}, p99 {}; {:.0f} % of what a rank can do\n",
             round_count(plan.rate_per_s), time(plan.response_s), time(plan.p99_s),
             100 * plan.utilisation);
  fmt::print(
      "by                {}, {:.1f} % wrong on points it had not seen; the number of ranks "
      "is not modelled: measure it before relying on it\n\n",
      plan.model, 100 * plan.held_out_rms);
}

}  // namespace

int plan_command(int argc, const char* const* argv) {
  PlanFlags flags;
  CLI::App app(
      "benchkv plan: how many ranks and clients a target needs, by the model that "
      "explains a sweep best",
      "benchkv plan");
  app.add_option("FILE", flags.path, "result of benchkv sweep, or 'published'")->required();
  app.add_option("--rate", flags.rate, "operations per second of all ranks, such as 10M")
      ->required();
  app.add_option("--p99", flags.p99, "latency that 99 % must not exceed, such as 50us");
  app.add_option("--items", flags.items, "items of all ranks, for the memory");
  app.add_option("--item-bytes", flags.item_bytes, "key and value")->capture_default_str();
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  const auto target = target_of(flags);
  if (!target) return fail(target.error, kExitUsage);
  const auto study = analysis::read_study(flags.path);
  if (!study) return fail(study.error, kExitUsage);
  int code = kExitOk;
  for (const analysis::Series& series : study->series) {
    const auto plan = analysis::plan(series, analysis::explain(series, {}), *target);
    if (plan) {
      print_plan(series, *plan);
    } else {
      code = fail(fmt::format("{}: {}", series.name, plan.error), kExitRunFailed);
    }
  }
  return code;
}

}  // namespace copykv::bench
