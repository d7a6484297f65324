// SPDX-License-Identifier: Apache-2.0
// Two processes that measure together: the parent on one core, its forked child on another, and a
// socket between them to agree on what comes next.
#pragma once

#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <string>

namespace copykv::bench {

class Duo {
 public:
  /// Forks; returns in both. Make endpoints afterwards. Both are pinned, where two cores are there.
  Duo() {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends.data()) != 0) return;
    child_ = fork();
    is_child_ = child_ == 0;
    fd_ = ends[is_child_];
    close(ends[!is_child_]);
    if (is_child_) prctl(PR_SET_PDEATHSIG, SIGKILL);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(is_child_ ? 1U : 0U, &set);
    (void)sched_setaffinity(0, sizeof(set), &set);  // one core only: both share it
  }
  ~Duo() {
    close(fd_);
    if (!is_child_ && child_ > 0) waitpid(child_, nullptr, 0);
  }
  Duo(const Duo&) = delete;
  Duo& operator=(const Duo&) = delete;

  [[nodiscard]] bool is_child() const noexcept { return is_child_; }
  [[nodiscard]] bool ok() const noexcept { return child_ >= 0; }

  /// Gives the other a few hundred bytes and takes its own; empty when the other is gone.
  [[nodiscard]] std::string exchange(const std::string& mine) {
    std::array<char, 1024> theirs{};
    if (send(fd_, mine.data(), mine.size(), MSG_NOSIGNAL) < 0) return {};
    const ssize_t got = recv(fd_, theirs.data(), theirs.size(), 0);
    return got <= 0 ? std::string() : std::string(theirs.data(), static_cast<size_t>(got));
  }
  /// Both have come here. False: the other is gone.
  [[nodiscard]] bool meet() { return !exchange("here").empty(); }

 private:
  pid_t child_ = -1;
  bool is_child_ = false;
  int fd_ = -1;
};

}  // namespace copykv::bench
