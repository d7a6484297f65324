// SPDX-License-Identifier: Apache-2.0
// A limit for the few library calls that have none of their own (attach, ping, enumeration).
#pragma once

#include <cstdint>
#include <string_view>

namespace copykv::tools {

/// While one stands, the process ends after `limit_ns` with the line on stderr and Exit::error. At
/// most one at a time. Uses SIGALRM.
class TimeLimit {
 public:
  TimeLimit(uint64_t limit_ns, std::string_view line);
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;
  ~TimeLimit() { pause(); }

  /// The whole limit from now on: the other side has made progress.
  void restart() const noexcept;
  /// No limit until the next restart: the time goes elsewhere (a slow reader of our output).
  void pause() const noexcept;

 private:
  uint64_t limit_ns_;
};

}  // namespace copykv::tools
