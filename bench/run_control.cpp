// SPDX-License-Identifier: Apache-2.0
#include "bench/run_control.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/units.hpp"
#include "bench/crew.hpp"
#include "bench/interrupt.hpp"
#include "bench/local_rank.hpp"
#include "bench/progress.hpp"
#include "bench/rank_counters.hpp"

namespace copykv::bench {
namespace {

constexpr uint64_t kMemoryBytesMin = uint64_t{1} << 30;
constexpr uint64_t kItemOverheadBytes = 64;

// Twice what the items need: their lengths change, and freed places are not always the right size.
uint64_t daemon_memory(const RunOptions& options) {
  if (options.memory_bytes > 0) return options.memory_bytes;
  const double item_bytes = static_cast<double>(options.key_bytes + kItemOverheadBytes) +
                            options.workload.sizes.mean_bytes();
  const auto items_bytes =
      static_cast<uint64_t>(2 * item_bytes * static_cast<double>(options.key_range));
  return std::max(kMemoryBytesMin, items_bytes + 16 * options.workload.sizes.bytes_max());
}

Options attach_options(const RunOptions& options) {
  Options attach;
  attach.runtime_dir = options.runtime_dir;
  attach.job = options.job;
  attach.rank = options.rank;
  attach.queue_depth = options.queue_depth;
  attach.wait = options.wait;
  // Room for every slot's value both ways.
  const uint64_t values_bytes =
      uint64_t{2} * options.queue_depth * options.workload.sizes.bytes_max();
  attach.bulk_bytes_max = std::max(attach.bulk_bytes_max, values_bytes);
  return attach;
}

std::string wait_name(Wait wait) {
  switch (wait) {
    case Wait::spin:
      return "spin";
    case Wait::park:
      return "park";
    case Wait::adaptive:
      break;
  }
  return "adaptive";
}

std::vector<DaemonSample> changes(const std::vector<DaemonSample>& later,
                                  const std::vector<DaemonSample>& earlier) {
  std::vector<DaemonSample> made;
  for (size_t i = 0; i < later.size() && i < earlier.size(); ++i) {
    made.push_back(difference(later[i], earlier[i]));
  }
  return made;
}

std::unique_ptr<Progress> make_progress(const RunOptions& options, std::string phase) {
  if (options.quiet) return std::make_unique<Progress>();
  return std::make_unique<Progress>(std::move(phase));
}

// Warm-up and runs. Stops at the first run after which the clients cannot go on.
void run_all(Crew& crew, const RankCounters* counters, Report& report) {
  const RunOptions& options = report.options;
  if (options.warmup_ns > 0) {
    const Crew::Run warmup = crew.run(options.warmup_ns, *make_progress(options, "warm-up"));
    if (!warmup.may_go_on || warmup.measured.wrong_values > 0) {
      RunResult failed{warmup.measured, {}, warmup.failures, {}};
      failed.failures.push_back("the warm-up failed");
      report.runs.push_back(std::move(failed));
      return;
    }
  }
  for (uint32_t run = 1; run <= options.runs && !interrupted(); ++run) {
    const auto progress = make_progress(options, fmt::format("run {}/{}", run, options.runs));
    const auto before = counters != nullptr ? counters->read() : std::vector<DaemonSample>();
    Crew::Run measured = crew.run(options.duration_ns, *progress);
    RunResult result{std::move(measured.measured), {}, std::move(measured.failures), {}};
    if (counters != nullptr) result.daemons = changes(counters->read(), before);
    judge_run(options, result);
    report.runs.push_back(std::move(result));
    if (!measured.may_go_on) return;
  }
}

}  // namespace

void judge_run(const RunOptions& options, RunResult& run) {
  const Measurement& measured = run.measured;
  if (measured.client_operations.size() < options.client_threads) {
    run.failures.push_back(fmt::format("{} of {} clients reported",
                                       measured.client_operations.size(), options.client_threads));
  }
  if (measured.errors_total() > 0) {
    run.failures.push_back(fmt::format("{} of {} operations failed",
                                       format_count(measured.errors_total()),
                                       format_count(measured.operations)));
  }
  if (measured.operations == 0 && !measured.interrupted) {
    run.failures.push_back("no operation was answered");
  }
  if (measured.unsent > 0) {
    run.failures.push_back(
        fmt::format("the rate is beyond what the service takes: {} starts that were due within the "
                    "run had not come when it had lasted twice as long",
                    format_count(measured.unsent)));
  }
  if (measured.operations == 0) return;
  const double residual = measured.littles_law().residual;
  const std::string line = fmt::format(
      "Little's law is off by {:.2f} %: operations were lost or counted twice", 100 * residual);
  if (residual > kResidualFails && options.arrival == Arrival::closed) {
    run.failures.push_back(line);
  } else if (residual > kResidualWarns) {
    run.warnings.push_back(line);
  }
}

std::vector<Measurement> Report::measurements() const {
  std::vector<Measurement> all;
  for (const RunResult& run : runs) all.push_back(run.measured);
  return all;
}

ExitCode Report::exit_code() const noexcept {
  const auto any_run = [this](auto&& test) { return std::any_of(runs.begin(), runs.end(), test); };
  if (any_run([](const RunResult& run) { return run.measured.wrong_values > 0; })) {
    return kExitWrongData;
  }
  if (any_run([](const RunResult& run) { return !run.failures.empty(); })) return kExitRunFailed;
  if (interrupted) return kExitInterrupted;
  const bool missed =
      std::any_of(slos.begin(), slos.end(), [](const SloVerdict& slo) { return !slo.met; });
  return missed ? kExitSloMissed : kExitOk;
}

Outcome<Report> measure_point(const RunOptions& options) {
  Report report;
  report.options = options;
  report.host = describe_host();
  const TickClock clock = TickClock::calibrate();
  report.host.clock = clock.name();

  const bool has_service = options.backend != "null";
  CrewPlan plan{report.options, clock, attach_options(options)};
  std::optional<LocalRank> rank;
  std::optional<RankCounters> counters;
  if (has_service && !options.attach) {
    Outcome<LocalRank> started =
        LocalRank::start({options.daemon_threads, daemon_memory(options), wait_name(options.wait)});
    if (!started) return Failure{started.error};
    rank.emplace(std::move(*started));
    plan.attach.runtime_dir = rank->runtime_dir();
    plan.attach.job = rank->job();
    plan.attach.rank = 0;
  }
  {
    Outcome<std::unique_ptr<Crew>> crew = Crew::start(plan);
    if (!crew) return Failure{crew.error};
    if (has_service) {
      if (Outcome<RankCounters> opened = RankCounters::open(plan.attach)) {
        counters.emplace(std::move(*opened));
      } else {
        fmt::print(stderr, "benchkv: no daemon counters: {}\n", opened.error);
      }
    }
    const auto loaded = (*crew)->preload(*make_progress(options, "loading"));
    if (!loaded) return Failure{loaded.error};
    report.line_rtt_before = measure_line_rtt(clock);
    run_all(**crew, counters ? &*counters : nullptr, report);
    report.line_rtt_after = measure_line_rtt(clock);
  }
  report.interrupted = interrupted();
  if (rank) {
    if (const auto stopped = rank->stop(); !stopped) {
      if (report.runs.empty()) return Failure{stopped.error};
      report.runs.back().failures.push_back(stopped.error);
    }
  }
  report.slos = judge(options.slos, report.measurements());
  return report;
}

}  // namespace copykv::bench
