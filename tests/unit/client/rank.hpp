// SPDX-License-Identifier: Apache-2.0
// A real copykvd of one test, which the test can stop, end and start again.
#pragma once

#include <signal.h>
#include <sys/wait.h>

#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/storm/daemon_process.hpp"

namespace copykv::test {

/// A started daemon and clients of it, also after the daemon's end.
struct Rank {
  explicit Rank(std::vector<std::string> flags = {"--memory", "64MiB"}) : daemon(std::move(flags)) {
    daemon.start();
  }
  Client client(Options options = {}) { return storm::attach_to(daemon, std::move(options)); }
  /// Nothing that is submitted from here on is answered; then the daemon is gone.
  void freeze() { daemon.send_signal(SIGSTOP); }
  storm::DaemonProcess daemon;
};

}  // namespace copykv::test
