// SPDX-License-Identifier: Apache-2.0
// How the ranks of one benchmark go in step. Rank 0 leads: it gathers a note of every other rank,
// then announces what comes next, which the others await.
//
//   rank 0     gather  announce  gather  announce ...
//   others     deliver await     deliver await    ...
//
// NOTES   Each is written once, under a key that names its round and its rank and that rank 0 owns:
//   only rank 0's daemon can take the notes with it when it dies, and everyone hears of that.
// ENDS    Each wait has a deadline. Nobody waits for a rank that cannot come: `trouble` cuts
//   the wait short.
// A team of one has no board and nobody to wait for.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "bench/board.hpp"

namespace copykv::bench {

/// Why it is no use to go on waiting; empty: it is.
using Trouble = std::function<std::string()>;

struct TeamPlace {
  uint32_t rank = 0;
  uint32_t ranks = 1;
  std::string prefix{};  ///< of all keys; no other run of the same service has it
  std::function<bool(std::string_view key)> stands_on_rank_0{};
};

class Team {
 public:
  /// `board` must outlive the team; nullptr for a team of one.
  Team(Board* board, TeamPlace place) : board_(board), place_(std::move(place)) {}

  struct Notes {
    std::vector<std::optional<std::string>>
        by_rank{};          ///< nothing of rank 0, nor of who is missing
    std::string failure{};  ///< who is missing, and why; empty: nobody
  };
  /// Rank 0: what the others deliver.
  [[nodiscard]] Notes gather(uint64_t within_ns, const Trouble& trouble);
  /// Rank 0: to all others. Also the end of a round.
  [[nodiscard]] Outcome<void> announce(std::string_view note);

  /// The others.
  [[nodiscard]] Outcome<void> deliver(std::string_view note);
  [[nodiscard]] Outcome<std::string> await(uint64_t within_ns);
  /// Waits until rank 0 can no longer be reached, which is how the others know that it has ended.
  void await_end_of_rank_0(uint64_t within_ns);

 private:
  [[nodiscard]] std::string key_of(std::string_view kind, uint32_t rank) const;
  [[nodiscard]] Outcome<void> write(const std::string& key, std::string_view note);
  /// Nothing: not there yet.
  [[nodiscard]] Outcome<std::optional<std::string>> read(const std::string& key);
  [[nodiscard]] Failure lost(Status status) const;

  Board* board_;
  TeamPlace place_;
  uint32_t gathered_ = 0;
  uint32_t announced_ = 0;
  bool met_ = false;  ///< rank 0 was reached once
};

}  // namespace copykv::bench
