// SPDX-License-Identifier: Apache-2.0
// One rank of a benchmark: its copykvd, its clients, its counters, and its place in the team.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "bench/board.hpp"
#include "bench/crew.hpp"
#include "bench/local_rank.hpp"
#include "bench/rank_counters.hpp"
#include "bench/run_result.hpp"
#include "bench/team.hpp"

namespace copykv::bench {

class RankSession {
 public:
  /// Starts the daemon (unless it is attached to) and the clients. `trouble` of elsewhere ends
  /// whatever the session waits for. Call it before the program has threads: it forks.
  [[nodiscard]] static Outcome<std::unique_ptr<RankSession>> start(const RunOptions& options,
                                                                   Trouble trouble);
  RankSession(const RankSession&) = delete;
  RankSession& operator=(const RankSession&) = delete;

  [[nodiscard]] Team& team() noexcept { return *team_; }
  [[nodiscard]] const TickClock& clock() const noexcept { return clock_; }
  [[nodiscard]] std::string transport() const {
    return counters_ ? counters_->transport() : std::string("none");
  }
  /// Why the benchmark cannot go on; empty: it can.
  [[nodiscard]] std::string trouble() const;

  /// The keys of this rank.
  [[nodiscard]] Outcome<void> load();
  /// All ranks have loaded: from now on a rank that disappears is trouble.
  void expect_all_ranks() noexcept;
  [[nodiscard]] RunResult run(uint64_t start_ns, uint64_t duration_ns, const std::string& phase);
  /// Ends clients and daemon.
  [[nodiscard]] Outcome<void> stop();

 private:
  RankSession(const RunOptions& options, Trouble trouble)
      : options_(options),
        // Stations need the daemons' own clock; a calibrated one drifts from it.
        clock_(options.stations > 0 ? TickClock() : TickClock::calibrate()),
        trouble_(std::move(trouble)) {}
  [[nodiscard]] Outcome<void> start_daemon();
  [[nodiscard]] Outcome<void> choose_own_keys();
  [[nodiscard]] Outcome<void> start_clients();
  [[nodiscard]] Outcome<void> join_team();
  void take_stations(std::span<const uint64_t> since, RunResult& result);

  RunOptions options_;  ///< the workload is completed here
  TickClock clock_;
  Trouble trouble_;
  Options attach_{};
  std::optional<LocalRank> daemon_{};
  std::optional<RankCounters> counters_{};
  PartitionRanks owners_{};
  std::vector<uint32_t> key_numbers_{};
  std::unique_ptr<ClientBoard> board_{};
  std::optional<Team> team_{};
  std::unique_ptr<Crew> crew_{};
  uint64_t peers_expected_ = 0;
};

}  // namespace copykv::bench
