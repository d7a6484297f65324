// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/completion_queue.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>

#include "copyrpc/fabric/verbs/errors.hpp"

namespace copyrpc::verbs {
namespace {

using copykv::Failure;
using copykv::Outcome;

constexpr unsigned kEventsPerAcknowledgement = 64;  // each takes a lock

}  // namespace

Outcome<CompletionQueue> CompletionQueue::make(const Device& device, uint32_t entries) {
  if (entries > static_cast<uint32_t>(device.limits.max_cqe))
    return Failure{
        fmt::format("a completion queue of {} entries on {}, which has {} at most; use "
                    "fewer peers or posts",
                    entries, device.name, device.limits.max_cqe)};
  CompletionQueue made;
  errno = 0;
  made.channel_.reset(ibv_create_comp_channel(device.context.get()));
  if (!made.channel_) return failure(device.name, "ibv_create_comp_channel", errno);
  const int flags = fcntl(made.channel_->fd, F_GETFL);
  if (fcntl(made.channel_->fd, F_SETFL, flags | O_NONBLOCK) != 0)
    return failure(device.name, "fcntl of the completion channel", errno);
  errno = 0;
  made.queue_.reset(ibv_create_cq(device.context.get(), static_cast<int>(entries), nullptr,
                                  made.channel_.get(), 0));
  if (!made.queue_)
    return failure(device.name, fmt::format("ibv_create_cq of {} entries", entries), errno);
  made.entries_ = entries;
  return made;
}

CompletionQueue::~CompletionQueue() {
  // The library waits in destroy for every event to be acknowledged.
  if (queue_ && events_unacknowledged_ > 0) ibv_ack_cq_events(queue_.get(), events_unacknowledged_);
}

void CompletionQueue::arm() noexcept {
  ibv_cq* queue = nullptr;
  void* context = nullptr;
  while (ibv_get_cq_event(channel_.get(), &queue, &context) == 0) ++events_unacknowledged_;
  if (events_unacknowledged_ >= kEventsPerAcknowledgement) {
    ibv_ack_cq_events(queue_.get(), events_unacknowledged_);
    events_unacknowledged_ = 0;
  }
  (void)ibv_req_notify_cq(queue_.get(), 0);
}

}  // namespace copyrpc::verbs
