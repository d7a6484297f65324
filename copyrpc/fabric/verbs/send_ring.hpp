// SPDX-License-Identifier: Apache-2.0
// What a send queue has in flight: one entry for each work request, in the order of posting, which
// is the order in which a queue pair completes them.
//
// INVARIANTS
//   I1  posted - ended <= depth: the send queue never overruns.
//   I2  the last kUnsignalledMax requests contain a signalled one, or nothing is unsignalled: the
//       queue is never full of work whose end nobody is told.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "copyrpc/fabric/fabric.hpp"

namespace copyrpc::verbs {

class SendRing {
 public:
  SendRing() = default;
  explicit SendRing(uint32_t depth)
      : contexts_(std::bit_ceil(depth)), depth_(depth), unsignalled_max_(unsignalled_max(depth)) {}

  /// Of `depth` entries, so many may follow each other unsignalled.
  [[nodiscard]] static uint32_t unsignalled_max(uint32_t depth) noexcept {
    return std::clamp(depth / 4, 1U, 16U);
  }

  [[nodiscard]] uint32_t in_flight() const noexcept { return posted_ - ended_; }
  [[nodiscard]] bool has_room(uint32_t requests) const noexcept {
    return in_flight() + requests <= depth_;
  }
  /// The number of the next request: its completion names it.
  [[nodiscard]] uint32_t next() const noexcept { return posted_; }
  [[nodiscard]] bool must_signal(uint64_t context) const noexcept {
    return context != kUnsignalled || unsignalled_ + 1 >= unsignalled_max_;
  }

  /// A request has been accepted by the device.
  void push(uint64_t context, bool signalled) noexcept {
    contexts_[posted_ & mask()] = context;
    ++posted_;
    unsignalled_ = signalled ? 0 : unsignalled_ + 1;
  }
  /// Request `number` and all before it are done; returns how many, and the context of the last.
  /// The ones before it were unsignalled, or have ended by completions of their own. 0: there is
  /// no such request in flight.
  [[nodiscard]] uint32_t end_through(uint32_t number, uint64_t& context) noexcept {
    const uint32_t count = number - ended_ + 1;
    if (count > in_flight()) return 0;
    context = contexts_[number & mask()];
    ended_ += count;
    return count;
  }
  /// Takes the oldest request off; only while in_flight() > 0.
  [[nodiscard]] uint64_t end_oldest() noexcept { return contexts_[ended_++ & mask()]; }

 private:
  [[nodiscard]] uint32_t mask() const noexcept {
    return static_cast<uint32_t>(contexts_.size()) - 1;
  }

  std::vector<uint64_t> contexts_;
  uint32_t depth_ = 0;
  uint32_t unsignalled_max_ = 1;
  uint32_t posted_ = 0;
  uint32_t ended_ = 0;
  uint32_t unsignalled_ = 0;
};

}  // namespace copyrpc::verbs
