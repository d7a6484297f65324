// SPDX-License-Identifier: Apache-2.0
// Two that measure together, and a socket between them to agree on what comes next: on one machine
// a parent and its forked child, each on a core of its own; a process on each of two hosts; or two
// threads of one process, for what lives in one process only (an emulated device).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "base/fd.hpp"

namespace CLI {
class App;
}

namespace copykv::bench {

class Duo;

/// Where the two are, as options of a program.
struct Places {
  bool listen = false;
  std::string peer{};
  uint16_t tcp_port = 18'715;
  bool in_threads = false;

  void add_to(CLI::App& app);
};
/// Calls `side` in both. Throws what either of them does.
void run_both(const Places& places, const std::function<void(Duo&)>& side);

class Duo {
 public:
  /// Forks; returns in both. Make endpoints afterwards. Both are pinned, where two cores are there.
  Duo();
  /// One end of two hosts: it calls `peer`, or, if that is empty, waits to be called and is the
  /// child. Throws what names the reason.
  Duo(const std::string& peer, uint16_t port);
  /// One end of a pair of connected sockets.
  Duo(bool is_child, Fd fd) : is_child_(is_child), fd_(std::move(fd)) {}
  ~Duo();
  Duo(const Duo&) = delete;
  Duo& operator=(const Duo&) = delete;

  [[nodiscard]] bool is_child() const noexcept { return is_child_; }
  [[nodiscard]] bool ok() const noexcept { return static_cast<bool>(fd_); }

  /// Gives the other a few hundred bytes and takes its own; empty when the other is gone.
  [[nodiscard]] std::string exchange(const std::string& mine);
  /// Both have come here. False: the other is gone.
  [[nodiscard]] bool meet() { return !exchange("here").empty(); }

 private:
  [[nodiscard]] bool give(const void* bytes, size_t count);
  [[nodiscard]] bool take(void* bytes, size_t count);

  pid_t child_ = -1;
  bool is_child_ = false;
  Fd fd_{};
};

}  // namespace copykv::bench
