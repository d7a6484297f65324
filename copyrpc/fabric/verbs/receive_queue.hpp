// SPDX-License-Identifier: Apache-2.0
// The shared receive queue of an endpoint. A write with immediate takes one entry of it and brings
// its bytes elsewhere: the entries have no buffers (and no scatter entry: one of length zero means
// 2 GiB to some devices).
//
// INVARIANTS
//   I1  posted + owed == entries.
//   I2  owed < kGroup after replenish: senders that keep to `guaranteed()` never find it empty.
#pragma once

#include <array>
#include <cstdint>

#include "base/error.hpp"
#include "copyrpc/fabric/verbs/device.hpp"

namespace copyrpc::verbs {

/// Of a receive's completion; posts have other numbers.
inline constexpr uint64_t kReceiveId = ~uint64_t{0};

class ReceiveQueue {
 public:
  static constexpr uint32_t kGroup = 32;  ///< entries are given back so many at a time

  /// Full of entries; `entries` is rounded up to whole groups.
  [[nodiscard]] static copykv::Outcome<ReceiveQueue> make(const Device& device, uint32_t entries);

  [[nodiscard]] ibv_srq* get() const noexcept { return queue_.get(); }
  [[nodiscard]] uint32_t entries() const noexcept { return entries_; }
  /// Immediates that may be on their way at any time.
  [[nodiscard]] uint32_t guaranteed() const noexcept { return entries_ - (kGroup - 1); }

  /// A completion has taken one entry, whatever its status.
  void taken() noexcept { ++owed_; }
  /// Gives back what has been taken, in whole groups; costs nothing when there is no such.
  /// False: the device refuses them.
  [[nodiscard]] bool replenish() noexcept {
    while (owed_ >= kGroup) [[unlikely]] if (!post_group()) return false;
    return true;
  }

 private:
  ReceiveQueue() = default;
  [[nodiscard]] bool post_group() noexcept;

  Owned<ibv_srq> queue_;
  uint32_t entries_ = 0;
  uint32_t owed_ = 0;
};

}  // namespace copyrpc::verbs
