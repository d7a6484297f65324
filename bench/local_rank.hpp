// SPDX-License-Identifier: Apache-2.0
// A rank of benchkv's own: one copykvd in a private directory, started, awaited and ended.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace copykv::bench {

struct RankSpec {
  uint32_t daemon_threads = 1;
  uint64_t memory_bytes = 0;
  std::string wait = "adaptive";
};

/// $COPYKV_DAEMON, else copykvd beside this program, else ../daemon/copykvd (the build tree).
[[nodiscard]] Outcome<std::string> find_daemon();

class LocalRank {
 public:
  /// Returns when the daemon serves. Call it before the program has threads: it forks.
  [[nodiscard]] static Outcome<LocalRank> start(const RankSpec& spec);

  LocalRank(LocalRank&& other) noexcept { *this = std::move(other); }
  LocalRank& operator=(LocalRank&& other) noexcept;
  ~LocalRank();

  [[nodiscard]] const std::string& runtime_dir() const noexcept { return runtime_dir_; }
  [[nodiscard]] std::string job() const { return kJob; }

  /// SIGTERM; fails when the daemon had died before, does not end within 10 s (then it is killed)
  /// or ends with an error.
  [[nodiscard]] Outcome<void> stop();

 private:
  static constexpr const char* kJob = "bench";

  LocalRank() = default;
  [[nodiscard]] Outcome<void> spawn(const std::string& program, const RankSpec& spec);
  [[nodiscard]] Outcome<void> await_ready();
  [[nodiscard]] std::string last_words() const;

  std::string runtime_dir_{};
  pid_t pid_ = -1;
  Fd daemon_stdout_{};
};

}  // namespace copykv::bench
