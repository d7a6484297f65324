// SPDX-License-Identifier: Apache-2.0
// Two processes that measure together, and a socket between them to agree on what comes next: on
// one machine a parent and its forked child, each on a core of its own; or one on each of two
// hosts.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/fd.hpp"

namespace copykv::bench {

class Duo {
 public:
  /// Forks; returns in both. Make endpoints afterwards. Both are pinned, where two cores are there.
  Duo();
  /// One end of two hosts: it calls `peer`, or, if that is empty, waits to be called and is the
  /// child. Throws what names the reason.
  Duo(const std::string& peer, uint16_t port);
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
