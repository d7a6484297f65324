// SPDX-License-Identifier: Apache-2.0
// Completion queues and channels, and asynchronous events.
#include <sys/eventfd.h>
#include <unistd.h>

#include <bit>
#include <cerrno>

#include "base/assert.hpp"
#include "tests/emulated_mlx5/calls.hpp"

namespace emulated_mlx5 {
namespace {

void wake(int fd) {
  const uint64_t one = 1;
  COPYKV_ASSERT(write(fd, &one, sizeof(one)) == sizeof(one), "errno={}", errno);
}

/// Blocks, or not, as the descriptor says.
bool take(int fd) {
  uint64_t count = 0;
  return read(fd, &count, sizeof(count)) == sizeof(count);
}

}  // namespace

void push(Network& network, CompletionQueue& queue, const Entry& entry) {
  if (queue.broken) return;
  if (queue.tail - queue.head == queue.ring.size()) {
    // ibv_create_cq(3), ibv_get_async_event(3): "CQ is in error (CQ overrun)".
    queue.broken = true;
    ++network.counters.cq_overruns;
    ibv_async_event event{};
    event.element.cq = &queue;
    event.event_type = IBV_EVENT_CQ_ERR;
    raise(context_of(queue.context), event);
    return;
  }
  queue.ring[queue.tail % queue.ring.size()] = entry;
  ++queue.tail;
  if (!queue.armed || queue.channel == nullptr) return;
  queue.armed = false;
  auto& channel = *static_cast<Channel*>(queue.channel);
  channel.events.push_back(&queue);
  wake(channel.fd);
}

/// rdma-core, mlx5_modify_qp and mlx5_destroy_qp: they clean the queue of what the queue pair left.
void forget(CompletionQueue& queue, const Pair& pair) {
  uint64_t kept = queue.head;
  for (uint64_t at = queue.head; at < queue.tail; ++at) {
    const Entry entry = queue.ring[at % queue.ring.size()];
    if (entry.wc.qp_num != pair.qp_base.qp_num) queue.ring[kept++ % queue.ring.size()] = entry;
  }
  queue.tail = kept;
}

void raise(Context& context, const ibv_async_event& event) {
  context.events.push_back(event);
  wake(context.verbs.context.async_fd);
}

int poll_cq(ibv_cq* cq, int entries_max, ibv_wc* wc) {
  const Locked net;
  net->pump();
  auto& queue = *static_cast<CompletionQueue*>(cq);
  int taken = 0;
  for (; taken < entries_max && queue.head != queue.tail; ++taken, ++queue.head) {
    const Entry& entry = queue.ring[queue.head % queue.ring.size()];
    wc[taken] = entry.wc;
    if (entry.pair != nullptr) entry.pair->freed = entry.request_end;
  }
  return taken;
}

int req_notify_cq(ibv_cq* cq, int) {
  const Locked net;
  net->pump();
  static_cast<CompletionQueue*>(cq)->armed = true;
  return 0;
}

}  // namespace emulated_mlx5

using namespace emulated_mlx5;

ibv_comp_channel* ibv_create_comp_channel(ibv_context* context) {
  const Locked net;
  auto* channel = new Channel{};
  channel->context = context;
  channel->fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
  ++net->objects;
  return channel;
}

int ibv_destroy_comp_channel(ibv_comp_channel* channel) {
  const Locked net;
  if (channel->refcnt != 0) return EBUSY;  // ibv_destroy_comp_channel(3)
  close(channel->fd);
  delete static_cast<Channel*>(channel);
  --net->objects;
  return 0;
}

ibv_cq* ibv_create_cq(ibv_context* context, int cqe, void* cq_context, ibv_comp_channel* channel,
                      int vector) {
  const Locked net;
  // rdma-core, mlx5 create_cq: none, or more than the device has.
  if (cqe <= 0 || static_cast<uint32_t>(cqe) > net->options.cqe_max || vector < 0 ||
      vector >= context->num_comp_vectors) {
    errno = EINVAL;
    return nullptr;
  }
  auto* queue = new CompletionQueue{};
  queue->context = context;
  queue->channel = channel;
  queue->cq_context = cq_context;
  queue->ring.resize(std::bit_ceil(static_cast<uint32_t>(cqe) + 1));
  queue->cqe = static_cast<int>(queue->ring.size()) - 1;
  if (channel != nullptr) ++channel->refcnt;
  context_of(context).queue_bytes += queue->ring.size() * 64;
  ++net->objects;
  return queue;
}

int ibv_destroy_cq(ibv_cq* cq) {
  const Locked net;
  auto* queue = static_cast<CompletionQueue*>(cq);
  if (queue->users != 0) return EBUSY;  // ibv_destroy_cq(3)
  if (queue->channel != nullptr) {
    auto& channel = *static_cast<Channel*>(queue->channel);
    const size_t waiting = std::erase(channel.events, queue);
    for (size_t at = 0; at < waiting; ++at) (void)take(channel.fd);
    --channel.refcnt;
  }
  // ibv_get_cq_event(3): destroying waits for the acknowledgement of each event taken.
  COPYKV_ASSERT(queue->comp_events_completed == 0, "events taken and not acknowledged: {}",
                queue->comp_events_completed);
  context_of(queue->context).queue_bytes -= queue->ring.size() * 64;
  delete queue;
  --net->objects;
  return 0;
}

int ibv_get_cq_event(ibv_comp_channel* channel, ibv_cq** cq, void** cq_context) {
  if (!take(channel->fd)) return -1;
  const Locked net;
  auto& events = static_cast<Channel*>(channel)->events;
  *cq = events.front();
  events.pop_front();
  ++(*cq)->comp_events_completed;  // here: taken and not yet acknowledged
  *cq_context = (*cq)->cq_context;
  return 0;
}

void ibv_ack_cq_events(ibv_cq* cq, unsigned events) {
  const Locked net;
  COPYKV_ASSERT(events <= cq->comp_events_completed, "acknowledged={} taken={}", events,
                cq->comp_events_completed);
  cq->comp_events_completed -= events;
}

int ibv_get_async_event(ibv_context* context, ibv_async_event* event) {
  if (!take(context->async_fd)) return -1;
  const Locked net;
  auto& events = context_of(context).events;
  *event = events.front();
  events.pop_front();
  return 0;
}

void ibv_ack_async_event(ibv_async_event*) {}
