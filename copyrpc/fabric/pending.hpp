// SPDX-License-Identifier: Apache-2.0
// Completions that wait for the next poll of a fabric: a queue of fixed capacity.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/assert.hpp"
#include "copyrpc/fabric/fabric.hpp"

namespace copyrpc {

class Pending {
 public:
  explicit Pending(uint32_t capacity) { entries_.reserve(capacity); }

  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  /// Each post ends here at most once, and each connection is lost once: the capacity is their sum.
  void push(const Completion& completion) noexcept {
    COPYKV_ASSERT(entries_.size() < entries_.capacity(), "pending={}", entries_.size());
    entries_.push_back(completion);
  }
  /// The oldest, as many as fit.
  [[nodiscard]] uint32_t take(std::span<Completion> out) noexcept {
    if (entries_.empty()) [[likely]]
      return 0;
    const size_t count = std::min(out.size(), entries_.size());
    std::copy_n(entries_.begin(), count, out.begin());
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(count));
    return static_cast<uint32_t>(count);
  }
  /// For a connection that was closed before its loss was told.
  void drop_peer_lost(PeerId peer) noexcept {
    std::erase_if(entries_, [peer](const Completion& one) {
      return one.kind == Completion::Kind::peer_lost && one.peer == peer;
    });
  }

 private:
  std::vector<Completion> entries_;
};

}  // namespace copyrpc
