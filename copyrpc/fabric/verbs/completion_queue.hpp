// SPDX-License-Identifier: Apache-2.0
// The completion queue of an endpoint, and sleeping until it has something.
//
// INVARIANT  entries >= receives outstanding + posts in flight + ends of queue pairs that are gone:
//   the fabric takes no post that would break it, so the queue cannot overrun.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/error.hpp"
#include "copyrpc/fabric/verbs/device.hpp"

namespace copyrpc::verbs {

class CompletionQueue {
 public:
  [[nodiscard]] static copykv::Outcome<CompletionQueue> make(const Device& device,
                                                             uint32_t entries);
  CompletionQueue(CompletionQueue&&) = default;
  CompletionQueue& operator=(CompletionQueue&&) = default;
  ~CompletionQueue();

  [[nodiscard]] ibv_cq* get() const noexcept { return queue_.get(); }
  [[nodiscard]] uint32_t entries() const noexcept { return entries_; }
  /// Readable after arm, when something has come since.
  [[nodiscard]] int wait_fd() const noexcept { return channel_->fd; }

  /// As many as are there and fit.
  [[nodiscard]] uint32_t poll(std::span<ibv_wc> found) noexcept {
    const int count = ibv_poll_cq(queue_.get(), static_cast<int>(found.size()), found.data());
    return count > 0 ? static_cast<uint32_t>(count) : 0;
  }
  /// The next completion makes wait_fd readable; what came before does not: poll once more.
  void arm() noexcept;

 private:
  CompletionQueue() = default;

  Owned<ibv_comp_channel> channel_;
  Owned<ibv_cq> queue_;
  uint32_t entries_ = 0;
  unsigned events_unacknowledged_ = 0;
};

}  // namespace copyrpc::verbs
