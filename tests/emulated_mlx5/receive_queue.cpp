// SPDX-License-Identifier: Apache-2.0
// Shared receive queues.
#include <bit>
#include <cerrno>

#include "tests/emulated_mlx5/calls.hpp"

namespace emulated_mlx5 {
namespace {

constexpr uint32_t kEntryBytes = 32;  // rdma-core: a next segment and one data segment

int post_one(ReceiveQueue& queue, const ibv_recv_wr& request) {
  // rdma-core, mlx5_post_srq_recv: more parts than the queue has room for; no entry left.
  if (request.num_sge < 0 || static_cast<uint32_t>(request.num_sge) > queue.sges_max) return EINVAL;
  // A data segment of 0 bytes means 2 GiB to mlx5, and a receive entry carries it as it is.
  for (int at = 0; at < request.num_sge; ++at)
    if (request.sg_list[at].length == 0) return EINVAL;
  if (queue.tail - queue.head >= queue.entries_max) return ENOMEM;
  queue.ring[queue.tail % queue.ring.size()] = request.wr_id;
  ++queue.tail;
  return 0;
}

}  // namespace

int post_srq_recv(ibv_srq* srq, ibv_recv_wr* requests, ibv_recv_wr** bad) {
  const Locked net;
  auto& queue = *static_cast<ReceiveQueue*>(srq);
  for (; requests != nullptr; requests = requests->next) {
    if (const int error = post_one(queue, *requests); error != 0) {
      *bad = requests;
      return error;
    }
  }
  return 0;
}

}  // namespace emulated_mlx5

using namespace emulated_mlx5;

ibv_srq* ibv_create_srq(ibv_pd* pd, ibv_srq_init_attr* attributes) {
  const Locked net;
  // rdma-core, mlx5_create_srq: beyond the device's limits; and a limit is set later.
  if (attributes->attr.max_wr > net->options.srq_wr_max || attributes->attr.max_sge > 31) {
    errno = EINVAL;
    return nullptr;
  }
  auto* queue = new ReceiveQueue{};
  queue->context = pd->context;
  queue->srq_context = attributes->srq_context;
  queue->pd = pd;
  queue->ring.resize(std::bit_ceil(attributes->attr.max_wr + 1));
  queue->entries_max = static_cast<uint32_t>(queue->ring.size()) - 1;
  queue->sges_max = attributes->attr.max_sge > 0 ? attributes->attr.max_sge : 1;
  attributes->attr.max_wr = queue->entries_max;
  attributes->attr.max_sge = queue->sges_max;
  ++static_cast<Domain*>(pd)->users;
  context_of(pd->context).queue_bytes += queue->ring.size() * kEntryBytes;
  ++net->objects;
  return queue;
}

int ibv_modify_srq(ibv_srq* srq, ibv_srq_attr* attributes, int mask) {
  const Locked net;
  auto& queue = *static_cast<ReceiveQueue*>(srq);
  // ibv_modify_srq(3); mlx5 does not resize (rdma-core's device capabilities lack SRQ_RESIZE).
  if ((mask & ~IBV_SRQ_LIMIT) != 0) return EINVAL;
  if ((mask & IBV_SRQ_LIMIT) != 0) {
    if (attributes->srq_limit >= queue.ring.size()) return EINVAL;
    queue.limit = attributes->srq_limit;
  }
  return 0;
}

int ibv_query_srq(ibv_srq* srq, ibv_srq_attr* attributes) {
  const Locked net;
  const auto& queue = *static_cast<ReceiveQueue*>(srq);
  *attributes = {queue.entries_max, queue.sges_max, queue.limit};
  return 0;
}

int ibv_destroy_srq(ibv_srq* srq) {
  const Locked net;
  auto* queue = static_cast<ReceiveQueue*>(srq);
  if (queue->users != 0) return EBUSY;  // ibv_destroy_srq(3)
  --static_cast<Domain*>(queue->pd)->users;
  context_of(queue->context).queue_bytes -= queue->ring.size() * kEntryBytes;
  delete queue;
  --net->objects;
  return 0;
}
