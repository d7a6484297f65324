// SPDX-License-Identifier: Apache-2.0
// What happened in a simulated cluster: the newest events, to tell the story of a violation, and a
// hash over all of them, by which two runs are known to be the same.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace copykv::sim {

struct TraceEvent {
  uint64_t at_ns = 0;
  const char* what = "";  ///< a format of docs: "{0} ... {1}"; its text is hashed, not its address
  uint64_t who = 0;       ///< of an operation: the client; else the rank
  uint64_t first = 0;
  uint64_t second = 0;
};

class Trace {
 public:
  explicit Trace(size_t newest = 1U << 14) : events_(newest) {}

  /// `what` has {0} to {2} where `who`, `first` and `second` belong. A literal.
  void note(uint64_t at_ns, const char* what, uint64_t who, uint64_t first = 0,
            uint64_t second = 0);
  [[nodiscard]] uint64_t hash() const { return hash_; }
  [[nodiscard]] uint64_t count() const { return count_; }

  /// The events from `from_ns` to `to_ns` that are still known, at most `lines_max`, the newest.
  [[nodiscard]] std::string tell(uint64_t from_ns, uint64_t to_ns, size_t lines_max) const;

 private:
  void mix(uint64_t word);

  std::vector<TraceEvent> events_;
  uint64_t count_ = 0;
  uint64_t hash_ = 0x9e3779b97f4a7c15ULL;
};

}  // namespace copykv::sim
