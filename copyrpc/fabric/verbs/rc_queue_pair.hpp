// SPDX-License-Identifier: Apache-2.0
// A reliable connected queue pair: its way through the states, and posting to it.
//
// Nothing in it retries for ever: a receiver that stays without entries ends after kRnrRetries, a
// peer that does not acknowledge after kRetries + 1 time-outs, about half a second.
#pragma once

#include <cstdint>

#include "base/error.hpp"
#include "copyrpc/fabric/verbs/device.hpp"
#include "copyrpc/fabric/verbs/path.hpp"
#include "copyrpc/fabric/verbs/request.hpp"

namespace copyrpc::verbs {

/// What a peer must know of this side's queue pair; travels in the side channel's offer.
struct RcEnd {
  PathEnd path{};
  uint32_t number = 0;
  uint32_t first_packet = 0;  ///< 24 bits
  uint32_t reads_in_max = 0;  ///< that this side serves at a time
};

struct RcSizes {
  uint32_t requests = 0;
  uint32_t inline_bytes = 0;
};

class RcQueuePair {
 public:
  RcQueuePair() = default;
  /// In state INIT. `sizes.inline_bytes` is what we would like; what is granted may be less.
  [[nodiscard]] static copykv::Outcome<RcQueuePair> make(const Device& device, ibv_cq* completions,
                                                         ibv_srq* receives, const RcSizes& sizes);

  /// To the states RTR and RTS. False: the device refuses the peer's numbers.
  [[nodiscard]] bool connect(const Device& device, const RcEnd& remote) noexcept;

  [[nodiscard]] ibv_qp* raw() const noexcept { return queue_.get(); }
  [[nodiscard]] bool exists() const noexcept { return queue_ != nullptr; }
  [[nodiscard]] RcEnd end(const Device& device) const noexcept;
  [[nodiscard]] uint32_t number() const noexcept { return queue_->qp_num; }
  [[nodiscard]] uint32_t inline_bytes() const noexcept { return inline_bytes_; }

  /// 0, or an errno value: nothing has been posted.
  [[nodiscard]] int post(const Request& request, uint64_t id, bool signalled) noexcept {
    return extended_ != nullptr ? post_extended(request, id, signalled)
                                : post_plain(request, id, signalled);
  }

 private:
  [[nodiscard]] int post_extended(const Request& request, uint64_t id, bool signalled) noexcept;
  [[nodiscard]] int post_plain(const Request& request, uint64_t id, bool signalled) noexcept;

  Owned<ibv_qp> queue_;
  ibv_qp_ex* extended_ = nullptr;  ///< null: the provider has no ibv_wr_ calls
  uint32_t inline_bytes_ = 0;
  uint32_t first_packet_ = 0;
};

}  // namespace copyrpc::verbs
