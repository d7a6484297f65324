// SPDX-License-Identifier: Apache-2.0
// How often one process may attach: as often as it likes at once, up to a limit, then so many times
// a second. An attach costs the control thread some hundred microseconds; a process that attaches
// in a loop must not take the turns of all others.
//
// For each process one number says it all: the time at which its allowance is whole again. Whoever
// has reached that time is forgotten, so the table holds those that attach right now.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "base/clock.hpp"

namespace copykv {

class AttachRate {
 public:
  AttachRate(uint32_t at_once, uint32_t per_second)
      : interval_ns_(kNanosPerSecond / per_second), allowance_ns_(interval_ns_ * at_once) {}

  /// Whether process `pid` may attach now; it counts if so.
  [[nodiscard]] bool take(int pid, uint64_t now_ns) {
    if (whole_again_ns_.size() >= forget_at_) forget(now_ns);
    uint64_t& whole_again_ns = whole_again_ns_[pid];
    const uint64_t next_ns = std::max(whole_again_ns, now_ns) + interval_ns_;
    if (next_ns - now_ns > allowance_ns_) return false;
    whole_again_ns = next_ns;
    return true;
  }

  [[nodiscard]] size_t processes() const { return whole_again_ns_.size(); }

 private:
  void forget(uint64_t now_ns) {
    std::erase_if(whole_again_ns_, [now_ns](const auto& one) { return one.second <= now_ns; });
    forget_at_ = std::max(kForgetAtMin, 2 * whole_again_ns_.size());
  }

  static constexpr size_t kForgetAtMin = 256;
  const uint64_t interval_ns_;
  const uint64_t allowance_ns_;
  std::unordered_map<int, uint64_t> whole_again_ns_{};
  size_t forget_at_ = kForgetAtMin;
};

}  // namespace copykv
