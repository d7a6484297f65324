// SPDX-License-Identifier: Apache-2.0
// Strangers decide how often something goes wrong: they must not fill the log.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/clock.hpp"
#include "base/log.hpp"

namespace copykv {

/// Ten lines at once, then one a second; says how many it left out.
class LogLimit {
 public:
  explicit LogLimit(const Clock& clock) : clock_(clock), last_ns_(clock.now_ns()) {}

  void say(LogLevel level, const std::string& line) {
    if (level > log_level()) return;
    const uint64_t now_ns = clock_.now_ns();
    const uint64_t seconds = (now_ns - last_ns_) / kNanosPerSecond;
    last_ns_ += seconds * kNanosPerSecond;
    lines_left_ = std::min(lines_left_ + seconds, kLinesAtOnce);
    if (lines_left_ == 0) {
      ++left_out_;
      return;
    }
    --lines_left_;
    if (left_out_ > 0) log(level, "{} more lines like the next one were left out", left_out_);
    left_out_ = 0;
    write_log_line(level, line);
  }
  void warn(const std::string& line) { say(LogLevel::warn, line); }
  void info(const std::string& line) { say(LogLevel::info, line); }

 private:
  static constexpr uint64_t kLinesAtOnce = 10;
  const Clock& clock_;
  uint64_t last_ns_;
  uint64_t lines_left_ = kLinesAtOnce;
  uint64_t left_out_ = 0;
};

}  // namespace copykv
