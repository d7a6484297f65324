// SPDX-License-Identifier: Apache-2.0
// The pings that `copykv top` sends itself, to show what a client would see now. On a thread of its
// own, because the counters must stay on the screen when the daemon does not answer.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/histogram.hpp"
#include "tools/copykv/command.hpp"

namespace copykv::tools {

struct ProbeReport {
  Histogram round_trip{};   ///< answers since the last report
  uint64_t waiting_ns = 0;  ///< how long the present ping has been without an answer
  std::string trouble{};    ///< why there are no pings; empty when all is well
};

class Probe {
 public:
  /// Attaches and begins, one ping each 10 ms, to the rank's daemon threads in turn.
  explicit Probe(const Common& common);
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  /// Ends the thread. When the daemon keeps it in a call it stays there, and ends with the process:
  /// whoever watches a daemon that hangs must be able to leave.
  ~Probe();

  [[nodiscard]] ProbeReport take();

 private:
  struct State;
  static void run(const std::shared_ptr<State>& state, const Common& common);

  std::shared_ptr<State> state_;  // the thread's, too: it may outlive this object
};

}  // namespace copykv::tools
