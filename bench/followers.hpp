// SPDX-License-Identifier: Apache-2.0
// The other ranks of a job that benchkv starts on this machine: a process each, which ends with
// this one, whatever ends it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/error.hpp"
#include "bench/options.hpp"

namespace copykv::bench {

class Followers {
 public:
  /// Starts ranks 1 .. options.ranks - 1. Call it before the program has threads: it forks.
  [[nodiscard]] static Outcome<Followers> start(const RunOptions& options);
  Followers() = default;
  Followers(Followers&& other) noexcept { *this = std::move(other); }
  Followers& operator=(Followers&& other) noexcept;
  /// Ends those that have not ended.
  ~Followers();

  /// Names a rank that has ended before its time; empty: none. Passes an interrupt on to them.
  [[nodiscard]] std::string look();
  /// Waits until all have ended, which rank 0 must have told them. The lines of those that failed.
  [[nodiscard]] std::vector<std::string> finish();

 private:
  struct Follower {
    uint32_t rank = 0;
    pid_t pid = -1;  ///< -1: has ended
  };
  [[nodiscard]] std::string reap(Follower& follower, int options);
  void tell(int signal) noexcept;

  std::vector<Follower> followers_{};
  bool told_ = false;    ///< of the interrupt
  std::string ended_{};  ///< the first that ended before its time
};

}  // namespace copykv::bench
