// SPDX-License-Identifier: Apache-2.0
// The clients of a rank, as threads or as processes, and the one that directs them.
//
// The director gives a numbered command through memory shared with every client; a client obeys,
// publishes the number as done and, after a run, writes its Measurement into its pipe. Threads and
// processes take the same way, so what is measured does not depend on which they are.
//
// SYNC  [A] director: fill command and window, publish(sequence)    client: observe(sequence)
//       [B] client: fill error, publish(done)                       director: observe(done)
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <copykv/client.hpp>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "bench/live.hpp"
#include "bench/measure.hpp"
#include "bench/options.hpp"
#include "bench/team.hpp"
#include "bench/tick_clock.hpp"
#include "bench/worker.hpp"

namespace copykv::bench {

enum class Command : uint8_t { attach, preload, run, quit };

/// Written by the director.
struct CrewControl {
  uint32_t sequence;  ///< number of the last command; also what idle clients sleep on
  uint32_t stop;      ///< 1: end what you do
  Command command;
  Window window;
};

/// Written by one client.
struct alignas(2 * kCacheLineBytes) CrewCell {
  uint32_t done;    ///< number of the last command obeyed
  char error[256];  ///< of that command; empty: none
  LiveStats live;
};

/// What every client is told at its start.
struct CrewPlan {
  const RunOptions& options;
  TickClock clock;
  Options attach;
};

/// A client's whole life; returns after Command::quit.
void client_main(const CrewPlan& plan, uint32_t client, CrewControl& control, CrewCell& cell,
                 int result_fd) noexcept;

class Progress;

class Crew {
 public:
  /// Call it before the program has threads where clients are processes: it forks.
  [[nodiscard]] static Outcome<std::unique_ptr<Crew>> start(const CrewPlan& plan);
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew();

  /// Each client puts its part of the keys.
  [[nodiscard]] Outcome<void> preload(Progress& progress, const Trouble& trouble);

  struct Run {
    Measurement measured{};
    std::vector<std::string> failures{};
    bool may_go_on = true;  ///< false: clients have died or lost the daemon
  };
  /// Starts when the clock says `start_ns`. Ends early when the program is interrupted, and at the
  /// first `trouble`, which is then among the failures.
  [[nodiscard]] Run run(uint64_t start_ns, uint64_t duration_ns, Progress& progress,
                        const Trouble& trouble);
  /// How long from the word to the start: everyone must have made its histograms.
  [[nodiscard]] static uint64_t lead_ns(uint64_t clients) noexcept {
    return (20 + 3 * clients) * kNanosPerMilli;
  }

 private:
  struct Member {
    std::thread thread{};
    pid_t pid = -1;
    Fd results{};
    bool dead = false;
  };

  explicit Crew(const CrewPlan& plan) : plan_(plan) {}
  [[nodiscard]] Outcome<void> share_memory();
  [[nodiscard]] Outcome<void> start_member(uint32_t client);
  /// Gives a command and waits until all who live have obeyed. The lines of those who failed.
  [[nodiscard]] std::vector<std::string> command(Command what, Progress& progress,
                                                 const Trouble& trouble);
  [[nodiscard]] std::vector<std::string> reap_dead();
  [[nodiscard]] Outcome<Measurement> read_result(uint32_t client);
  [[nodiscard]] std::span<CrewCell> cells() noexcept { return {cells_, members_.size()}; }

  const CrewPlan plan_;
  CrewControl* control_ = nullptr;
  CrewCell* cells_ = nullptr;
  size_t shared_bytes_ = 0;
  std::vector<Member> members_{};
};

}  // namespace copykv::bench
