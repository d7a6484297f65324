// SPDX-License-Identifier: Apache-2.0
// Queue pairs are made, with the sizes that rdma-core would compute, and destroyed.
#include <algorithm>
#include <bit>
#include <cerrno>

#include "tests/emulated_mlx5/calls.hpp"

namespace emulated_mlx5 {
namespace {

constexpr uint64_t kOperations =
    IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM | IBV_QP_EX_WITH_RDMA_READ;

uint32_t aligned(uint32_t bytes, uint32_t to) {
  return (bytes + to - 1) / to * to;
}

/// rdma-core, _sq_overhead: control 16 and remote address 16; a DC address 48.
uint32_t overhead_bytes(PairKind kind) {
  return 16 + 16 + (kind == PairKind::dci ? 48 : 0);
}

/// rdma-core, mlx5_calc_send_wqe and mlx5_calc_sq_size. An errno value.
int size_send_queue(const Options& device, Pair& pair, ibv_qp_cap& cap) {
  if (cap.max_send_wr == 0) return pair.kind == PairKind::dct ? 0 : EINVAL;
  const uint32_t overhead = overhead_bytes(pair.kind);
  if (cap.max_send_sge > kSgesMax) return EINVAL;
  uint32_t with_inline = 0;
  if (cap.max_inline_data > 0) with_inline = overhead + aligned(4 + cap.max_inline_data, 16);
  const uint32_t with_sges = overhead + cap.max_send_sge * 16;
  const uint32_t bytes = std::max(with_inline, with_sges);
  if (bytes > device.request_bytes_max) return EINVAL;
  pair.request_bytes = aligned(bytes, kBasicBlockBytes);
  const uint64_t wanted = uint64_t{cap.max_send_wr} * pair.request_bytes;
  if (wanted > uint64_t{device.qp_wr_max} * kBasicBlockBytes) return EINVAL;
  const uint64_t queue_bytes = std::bit_ceil(wanted);
  if (queue_bytes / kBasicBlockBytes > device.qp_wr_max) return EINVAL;
  pair.requests_max = static_cast<uint32_t>(queue_bytes / pair.request_bytes);
  pair.inline_max = pair.request_bytes - overhead - 4;
  pair.sges_max = cap.max_send_sge;
  cap.max_inline_data = pair.inline_max;
  pair.ring.resize(pair.requests_max);
  pair.inline_data.resize(uint64_t{pair.requests_max} * pair.inline_max);
  pair.queue_bytes = queue_bytes;
  context_of(pair.qp_base.context).queue_bytes += queue_bytes;
  return 0;
}

/// Linux, mlx5 check_qp_attr, create_dct and friends. An errno value.
int check(const Network& net, const ibv_qp_init_attr_ex& attributes, PairKind kind) {
  if ((attributes.comp_mask & IBV_QP_INIT_ATTR_PD) == 0) return EINVAL;
  if (kind == PairKind::dct) return attributes.srq == nullptr || !attributes.recv_cq ? EINVAL : 0;
  if (attributes.send_cq == nullptr) return EINVAL;
  if (kind == PairKind::rc && attributes.recv_cq == nullptr) return EINVAL;
  if ((attributes.comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) != 0 &&
      (attributes.send_ops_flags & ~kOperations) != 0)
    return EOPNOTSUPP;  // not emulated
  return net.pairs.size() >= net.options.qps_max ? ENOMEM : 0;
}

template <class T>
void use(T* object, int by) {
  if (object != nullptr) object->users += static_cast<uint32_t>(by);
}

void use_all(Pair& pair, int by) {
  use(static_cast<Domain*>(pair.qp_base.pd), by);
  use(static_cast<CompletionQueue*>(pair.qp_base.send_cq), by);
  use(static_cast<CompletionQueue*>(pair.qp_base.recv_cq), by);
  use(static_cast<ReceiveQueue*>(pair.qp_base.srq), by);
}

ibv_qp* create(ibv_context* context, ibv_qp_init_attr_ex& attributes, PairKind kind,
               const mlx5dv_qp_init_attr* direct) {
  const Locked net;
  if (const int error = check(*net, attributes, kind); error != 0) {
    errno = error;
    return nullptr;
  }
  auto pair = std::make_unique<Pair>();
  pair->kind = kind;
  pair->qp_base.context = context;
  pair->qp_base.qp_context = attributes.qp_context;
  pair->qp_base.pd = attributes.pd;
  pair->qp_base.send_cq = attributes.send_cq;
  pair->qp_base.recv_cq = attributes.recv_cq;
  pair->qp_base.srq = attributes.srq;
  pair->qp_base.qp_type = attributes.qp_type;
  pair->qp_base.state = IBV_QPS_RESET;
  pair->signal_all = attributes.sq_sig_all != 0;
  if ((attributes.comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) != 0)
    pair->send_ops = attributes.send_ops_flags;
  if (kind == PairKind::dct) {
    pair->access_key = direct->dc_init_attr.dct_access_key;
  } else if (const int error = size_send_queue(net->options, *pair, attributes.cap); error != 0) {
    errno = error;
    return nullptr;
  }
  if (kind == PairKind::dci && (direct->comp_mask & MLX5DV_QP_INIT_ATTR_MASK_DCI_STREAMS) != 0) {
    pair->streams = 1U << direct->dc_init_attr.dci_streams.log_num_concurent;
    pair->streams_errored_max = 1U << direct->dc_init_attr.dci_streams.log_num_errored;
  }
  // Linux, mlx5_ib_modify_dct: a DCT has its number from RTR on; rdma-core shows it then.
  pair->qp_base.qp_num = net->new_pair_number();
  fill_operations(*pair);
  use_all(*pair, 1);
  net->pairs.emplace(pair->qp_base.qp_num, pair.get());
  ++net->objects;
  return &pair.release()->qp_base;
}

}  // namespace

ibv_qp* create_qp_ex(ibv_context* context, ibv_qp_init_attr_ex* attributes) {
  if (attributes->qp_type != IBV_QPT_RC) {
    errno = EOPNOTSUPP;  // not emulated
    return nullptr;
  }
  return create(context, *attributes, PairKind::rc, nullptr);
}

}  // namespace emulated_mlx5

using namespace emulated_mlx5;

ibv_qp* ibv_create_qp(ibv_pd* pd, ibv_qp_init_attr* attributes) {
  ibv_qp_init_attr_ex extended{};
  extended.qp_context = attributes->qp_context;
  extended.send_cq = attributes->send_cq;
  extended.recv_cq = attributes->recv_cq;
  extended.srq = attributes->srq;
  extended.cap = attributes->cap;
  extended.qp_type = attributes->qp_type;
  extended.sq_sig_all = attributes->sq_sig_all;
  extended.comp_mask = IBV_QP_INIT_ATTR_PD;
  extended.pd = pd;
  ibv_qp* made = create_qp_ex(pd->context, &extended);
  attributes->cap = extended.cap;
  return made;
}

ibv_qp* mlx5dv_create_qp(ibv_context* context, ibv_qp_init_attr_ex* attributes,
                         mlx5dv_qp_init_attr* direct) {
  constexpr uint64_t kKnown = MLX5DV_QP_INIT_ATTR_MASK_QP_CREATE_FLAGS |
                              MLX5DV_QP_INIT_ATTR_MASK_DC | MLX5DV_QP_INIT_ATTR_MASK_DCI_STREAMS;
  const bool is_dc = direct != nullptr && (direct->comp_mask & MLX5DV_QP_INIT_ATTR_MASK_DC) != 0;
  // rdma-core, mlx5 create_qp: unknown masks, and DC is of type DRIVER, and that is DC.
  if ((direct != nullptr && (direct->comp_mask & ~kKnown) != 0) ||
      is_dc != (attributes->qp_type == IBV_QPT_DRIVER)) {
    errno = EINVAL;
    return nullptr;
  }
  if (!is_dc) return create_qp_ex(context, attributes);
  const mlx5dv_dc_init_attr& dc = direct->dc_init_attr;
  if (dc.dc_type == MLX5DV_DCTYPE_DCT) return create(context, *attributes, PairKind::dct, direct);
  const Options& device = network().options;
  // rdma-core, mlx5 create_qp: no more streams than the device has.
  const bool streams = (direct->comp_mask & MLX5DV_QP_INIT_ATTR_MASK_DCI_STREAMS) != 0;
  if (dc.dc_type != MLX5DV_DCTYPE_DCI ||
      (streams && (dc.dci_streams.log_num_concurent > device.streams_log_max ||
                   dc.dci_streams.log_num_errored > device.streams_errored_log_max))) {
    errno = EINVAL;
    return nullptr;
  }
  return create(context, *attributes, PairKind::dci, direct);
}

ibv_qp_ex* ibv_qp_to_qp_ex(ibv_qp* qp) {
  Pair& pair = pair_of(qp);
  return pair.send_ops == 0 ? nullptr : &pair;  // rdma-core: made without send_ops_flags
}

mlx5dv_qp_ex* mlx5dv_qp_ex_from_ibv_qp_ex(ibv_qp_ex* qp) {
  return &pair_of(qp).direct;
}

int ibv_destroy_qp(ibv_qp* qp) {
  const Locked net;
  net->pump();
  Pair& pair = pair_of(qp);
  let_go(*net, pair);
  if (qp->send_cq != nullptr) forget(*static_cast<CompletionQueue*>(qp->send_cq), pair);
  if (qp->recv_cq != nullptr) forget(*static_cast<CompletionQueue*>(qp->recv_cq), pair);
  use_all(pair, -1);
  context_of(qp->context).queue_bytes -= pair.queue_bytes;
  net->pairs.erase(qp->qp_num);
  delete &pair;
  --net->objects;
  return 0;
}
