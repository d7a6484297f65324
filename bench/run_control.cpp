// SPDX-License-Identifier: Apache-2.0
#include "bench/run_control.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "bench/followers.hpp"
#include "bench/interrupt.hpp"
#include "bench/order.hpp"
#include "bench/rank_session.hpp"
#include "bench/sim_point.hpp"

namespace copykv::bench {
namespace {

constexpr uint64_t kReportWithinNs = 10 * kNanosPerSecond;
constexpr uint64_t kLoadWithinNs = 300 * kNanosPerSecond;

/// Rank 0 (or the only one) of one point.
class Leader {
 public:
  Leader(RankSession& session, Report& report) : session_(session), report_(report) {}

  /// Fails only when nothing could be measured.
  [[nodiscard]] Outcome<void> measure();

 private:
  [[nodiscard]] Outcome<void> load();
  void end();
  void run_all();
  [[nodiscard]] RunResult run(uint64_t duration_ns, const std::string& phase);
  void add_others(RunResult& result);
  [[nodiscard]] Team::Notes gather(uint64_t within_ns) {
    auto notes = session_.team().gather(within_ns, [this] { return session_.trouble(); });
    all_well_ = all_well_ && notes.failure.empty();
    return notes;
  }

  RankSession& session_;
  Report& report_;
  bool all_well_ = true;  ///< every rank has reported each time
};

Outcome<void> Leader::measure() {
  report_.host.transport = session_.transport();
  report_.host.clock = session_.clock().name();
  if (auto loaded = load(); !loaded) {
    end();
    return loaded;
  }
  report_.line_rtt_before = measure_line_rtt(session_.clock());
  run_all();
  if (all_well_) {
    report_.line_rtt_after = measure_line_rtt(session_.clock());
  } else {
    report_.line_rtt_after.note = "not measured after the runs: a rank was lost";
  }
  end();
  return {};
}

// Lets go of all who can still hear it.
void Leader::end() {
  if (!session_.team().announce(Order{}.pack())) return;
  (void)gather(all_well_ ? kReportWithinNs : kNanosPerSecond);
}

Outcome<void> Leader::load() {
  Outcome<void> own = session_.load();
  const Team::Notes notes = gather(kLoadWithinNs);
  if (!own) return own;
  if (!notes.failure.empty()) return Failure{notes.failure};
  for (size_t rank = 0; rank < notes.by_rank.size(); ++rank) {
    const auto& line = notes.by_rank[rank];
    if (line && !line->empty()) return Failure{fmt::format("rank {}: {}", rank, *line)};
  }
  session_.expect_all_ranks();
  return {};
}

// Warm-up and runs. Stops at the first run after which the clients cannot go on.
void Leader::run_all() {
  const RunOptions& options = report_.options;
  if (options.warmup_ns > 0) {
    RunResult warmup = run(options.warmup_ns, "warm-up");
    if (!warmup.may_go_on || warmup.measured.wrong_values > 0) {
      warmup.failures.push_back("the warm-up failed");
      report_.runs.push_back(std::move(warmup));
      return;
    }
  }
  for (uint32_t number = 1; number <= options.runs && !interrupted(); ++number) {
    RunResult result = run(options.duration_ns, fmt::format("run {}/{}", number, options.runs));
    judge_run(options, result);
    const bool may_go_on = result.may_go_on;
    report_.runs.push_back(std::move(result));
    if (!may_go_on) return;
  }
}

RunResult Leader::run(uint64_t duration_ns, const std::string& phase) {
  const uint64_t lead_ns = Crew::lead_ns(report_.options.client_threads);
  const uint64_t start_ns = session_.clock().now_ns() + lead_ns;
  const auto told = session_.team().announce(Order{true, start_ns, duration_ns, boot_id()}.pack());
  if (!told) {
    RunResult failed;
    failed.failures.push_back(told.error);
    failed.may_go_on = false;
    return failed;
  }
  RunResult result = session_.run(start_ns, duration_ns, phase);
  add_others(result);
  if (report_.options.stations > 0) {
    result.real_stations =
        std::make_shared<const RealStationReport>(add_up(std::exchange(result.samples, {})));
  }
  return result;
}

void Leader::add_others(RunResult& result) {
  const Team::Notes notes = gather(kReportWithinNs + report_.options.drain_ns());
  for (const auto& note : notes.by_rank) {
    if (!note) continue;
    const std::optional<RunResult> other = decode_result(*note);
    if (other) {
      result += *other;
    } else {
      result.failures.push_back("a rank delivered a damaged result");
    }
  }
  if (!notes.failure.empty()) result.failures.push_back(notes.failure);
  result.may_go_on = result.may_go_on && result.failures.empty();
}

}  // namespace

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
  if (options.transport == "sim") {
    const auto profile = profile_of(options);
    if (!profile) return Failure{profile.error};
    return simulate_point(options, *profile);
  }
  Report report;
  report.options = options;
  report.host = describe_host();
  RunOptions own = options;
  PrivateDir dir;
  Followers followers;
  if (own.starts_others()) {
    auto made = PrivateDir::make();
    if (!made) return Failure{made.error};
    dir = std::move(*made);
    own.runtime_dir = dir.path();
    const std::string meeting_place = dir.path() + "/meet";
    if (::mkdir(meeting_place.c_str(), 0700) != 0) {
      return Failure{fmt::format("cannot make {}: {}", meeting_place, std::strerror(errno))};
    }
    own.rendezvous = "file://" + meeting_place;
    auto started = Followers::start(own);
    if (!started) return Failure{started.error};
    followers = std::move(*started);
  }
  auto session = RankSession::start(own, [&followers] { return followers.look(); });
  if (!session) return Failure{session.error};
  const auto measured = Leader(**session, report).measure();
  report.interrupted = interrupted();
  std::vector<std::string> ends;
  if (const auto stopped = (*session)->stop(); !stopped) ends.push_back(stopped.error);
  for (std::string& line : followers.finish()) ends.push_back(std::move(line));
  if (!measured) return Failure{measured.error};
  if (!ends.empty() && report.runs.empty()) return Failure{ends.front()};
  for (std::string& line : ends) report.runs.back().failures.push_back(std::move(line));
  report.slos = judge(options.slos, report.measurements());
  return report;
}

}  // namespace copykv::bench
