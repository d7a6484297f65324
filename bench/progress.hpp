// SPDX-License-Identifier: Apache-2.0
// The live line on a terminal, once a second: operations per second, p50 of about one operation per
// poll round, errors.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "bench/live.hpp"

namespace copykv::bench {

struct CrewCell;

class Progress {
 public:
  /// Never prints.
  Progress() = default;
  /// Prints to stderr, when that is a terminal.
  explicit Progress(std::string phase);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Wipes the line.
  ~Progress();

  /// Call it often; it prints once a second.
  void tick(std::span<const CrewCell> cells);

 private:
  bool shown_ = false;
  bool based_ = false;  ///< last_ holds what was before this phase
  bool enabled_ = false;
  std::string phase_{};
  uint64_t began_ns_ = 0;
  uint64_t last_ns_ = 0;
  LiveStats last_{};
};

}  // namespace copykv::bench
