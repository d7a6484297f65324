// SPDX-License-Identifier: Apache-2.0
// A rank of benchkv's own: one copykvd, started, awaited and ended.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"
#include "bench/team.hpp"

namespace copykv::bench {

struct RankSpec {
  std::string runtime_dir{};  ///< empty: a private one, removed at the end
  std::string job = "bench";
  uint32_t rank = 0;
  uint32_t ranks = 1;
  std::string rendezvous = "none";
  std::string transport = "auto";
  std::string flush = "clocked";
  uint64_t peer_timeout_ns = 3 * kNanosPerSecond;
  uint32_t daemon_threads = 1;
  uint64_t memory_bytes = 0;
  std::string wait = "adaptive";
  bool stations = false;
};

/// A directory of this process' own, below $XDG_RUNTIME_DIR or /tmp; removed with all in it.
class PrivateDir {
 public:
  [[nodiscard]] static Outcome<PrivateDir> make();
  PrivateDir() = default;
  PrivateDir(PrivateDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  PrivateDir& operator=(PrivateDir&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~PrivateDir();
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_{};
};

/// "was killed by signal 9", "ended with code 1".
[[nodiscard]] std::string describe_exit(int wait_status);

/// $COPYKV_DAEMON, else copykvd beside this program, else ../daemon/copykvd (the build tree).
[[nodiscard]] Outcome<std::string> find_daemon();

class LocalRank {
 public:
  /// Returns when the daemon serves, which takes all ranks of the job; fails at the first
  /// `trouble`. Call it before the program has threads: it forks.
  [[nodiscard]] static Outcome<LocalRank> start(const RankSpec& spec, const Trouble& trouble);

  LocalRank(LocalRank&& other) noexcept { *this = std::move(other); }
  LocalRank& operator=(LocalRank&& other) noexcept;
  ~LocalRank();

  [[nodiscard]] const std::string& runtime_dir() const noexcept { return runtime_dir_; }

  /// SIGTERM; fails when the daemon had died before, does not end within 10 s (then it is killed)
  /// or ends with an error.
  [[nodiscard]] Outcome<void> stop();

 private:
  LocalRank() = default;
  [[nodiscard]] Outcome<void> spawn(const std::string& program, const RankSpec& spec);
  [[nodiscard]] Outcome<void> await_ready(const Trouble& trouble);
  [[nodiscard]] std::string last_words() const;

  PrivateDir private_dir_{};
  std::string runtime_dir_{};
  std::string log_path_{};
  pid_t pid_ = -1;
  Fd daemon_stdout_{};
};

}  // namespace copykv::bench
