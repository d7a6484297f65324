// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/receive_queue.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "copyrpc/fabric/verbs/errors.hpp"

namespace copyrpc::verbs {

using copykv::Failure;
using copykv::Outcome;

Outcome<ReceiveQueue> ReceiveQueue::make(const Device& device, uint32_t entries) {
  ReceiveQueue made;
  made.entries_ = (entries + kGroup - 1) / kGroup * kGroup;
  if (made.entries_ > static_cast<uint32_t>(device.limits.max_srq_wr))
    return Failure{
        fmt::format("a receive queue of {} entries on {}, which has {} at most; use "
                    "fewer peers",
                    made.entries_, device.name, device.limits.max_srq_wr)};
  ibv_srq_init_attr wanted{};
  wanted.attr.max_wr = made.entries_;
  wanted.attr.max_sge = 1;
  errno = 0;
  made.queue_.reset(ibv_create_srq(device.domain.get(), &wanted));
  if (!made.queue_)
    return failure(device.name, fmt::format("ibv_create_srq of {} entries", made.entries_), errno);
  made.owed_ = made.entries_;
  if (!made.replenish()) return failure(device.name, "ibv_post_srq_recv", ENOMEM);
  return made;
}

bool ReceiveQueue::post_group() noexcept {
  std::array<ibv_recv_wr, kGroup> group{};
  for (uint32_t at = 0; at < kGroup; ++at) {
    group[at].wr_id = kReceiveId;
    group[at].next = at + 1 < kGroup ? &group[at + 1] : nullptr;
  }
  ibv_recv_wr* refused = nullptr;
  if (ibv_post_srq_recv(queue_.get(), group.data(), &refused) != 0) return false;
  owed_ -= kGroup;
  return true;
}

}  // namespace copyrpc::verbs
