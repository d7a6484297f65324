// SPDX-License-Identifier: Apache-2.0
// A process that does harm until the test has seen enough.
#pragma once

#include <signal.h>
#include <sys/wait.h>

#include "tests/storm/daemon_process.hpp"

namespace copykv::storm {

/// Ends a child that would go on for ever.
class Attacker {
 public:
  template <class Work>
  explicit Attacker(Work work) : pid_(in_child([&] { return work(); })) {}
  ~Attacker() {
    ::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
  }
  Attacker(const Attacker&) = delete;

 private:
  pid_t pid_;
};

}  // namespace copykv::storm
