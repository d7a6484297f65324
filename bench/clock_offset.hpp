// SPDX-License-Identifier: Apache-2.0
// How far the clock of one rank is ahead of another's, from the requests between them alone: what
// was posted at t1 was seen at t2, and what was posted at t3 was seen at t4, so the clock that read
// t2 and t3 is ahead by no more than t2 - t1 and no less than t3 - t4. All requests together bound
// it; the middle is the estimate, half the width its error.
//
// DRIFT  Clocks that run apart leave no offset that fits all: then time is cut in two, and again,
//   until one fits each window. A window of few requests that none fits is given the middle, with
//   an error that covers them, and says so.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace copykv::bench {

/// What one request says of it.
struct OffsetBound {
  uint64_t at_ns = 0;  ///< by the first clock
  int64_t low_ns = 0;
  int64_t high_ns = 0;

  /// Asked by who reads the first clock, answered by who reads the other.
  [[nodiscard]] static OffsetBound of_request(uint64_t posted_ns, uint64_t peer_seen_ns,
                                              uint64_t peer_posted_ns, uint64_t seen_ns) noexcept {
    return {posted_ns, static_cast<int64_t>(peer_posted_ns - seen_ns),
            static_cast<int64_t>(peer_seen_ns - posted_ns)};
  }
  /// Asked by who reads the other clock.
  [[nodiscard]] static OffsetBound of_inverse(uint64_t posted_ns, uint64_t peer_seen_ns,
                                              uint64_t peer_posted_ns, uint64_t seen_ns) noexcept {
    return {peer_seen_ns, static_cast<int64_t>(posted_ns - peer_seen_ns),
            static_cast<int64_t>(seen_ns - peer_posted_ns)};
  }
};

/// Of the time from `from_ns` (by the first clock) to the next window.
struct OffsetWindow {
  uint64_t from_ns = 0;
  int64_t offset_ns = 0;
  uint64_t error_ns = 0;
  bool fits_all = true;  ///< false: the requests contradict each other by up to twice the error
};

/// By time; never empty unless `bounds` is.
[[nodiscard]] std::vector<OffsetWindow> align_clocks(std::vector<OffsetBound> bounds);

/// The window of a moment; the first one also for what is before it.
[[nodiscard]] const OffsetWindow& window_at(std::span<const OffsetWindow> windows,
                                            uint64_t at_ns) noexcept;

}  // namespace copykv::bench
