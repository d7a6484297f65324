// SPDX-License-Identifier: Apache-2.0
// The state machines: which transition wants and takes which attributes.
#include <cerrno>

#include "tests/emulated_mlx5/network.hpp"

namespace emulated_mlx5 {
namespace {

struct Transition {
  ibv_qp_state from;
  ibv_qp_state to;
  int required;
  int optional;
};

/// ibv_modify_qp(3), the table of RC.
constexpr Transition kRc[] = {
    {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS, 0},
    {IBV_QPS_INIT, IBV_QPS_INIT, 0, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS},
    {IBV_QPS_INIT, IBV_QPS_RTR,
     IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
         IBV_QP_MIN_RNR_TIMER,
     IBV_QP_PKEY_INDEX | IBV_QP_ACCESS_FLAGS},
    {IBV_QPS_RTR, IBV_QPS_RTS,
     IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_TIMEOUT,
     IBV_QP_CUR_STATE | IBV_QP_ACCESS_FLAGS | IBV_QP_MIN_RNR_TIMER},
    {IBV_QPS_RTS, IBV_QPS_RTS, 0, IBV_QP_CUR_STATE | IBV_QP_ACCESS_FLAGS | IBV_QP_MIN_RNR_TIMER},
};

/// Linux, drivers/infiniband/hw/mlx5/qp.c, modify_dci_qp_is_ok.
constexpr Transition kDci[] = {
    {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT, 0},
    {IBV_QPS_INIT, IBV_QPS_INIT, 0, IBV_QP_PKEY_INDEX | IBV_QP_PORT},
    {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QP_PATH_MTU, IBV_QP_PKEY_INDEX | IBV_QP_AV},
    {IBV_QPS_RTR, IBV_QPS_RTS,
     IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_SQ_PSN,
     IBV_QP_MIN_RNR_TIMER},
    {IBV_QPS_RTS, IBV_QPS_RTS, 0, IBV_QP_MIN_RNR_TIMER},
};

/// The same file, mlx5_ib_modify_dct: these two and no other.
constexpr Transition kDct[] = {
    {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX | IBV_QP_PORT, 0},
    {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QP_MIN_RNR_TIMER | IBV_QP_AV | IBV_QP_PATH_MTU, 0},
};

template <size_t Count>
bool listed(const Transition (&table)[Count], ibv_qp_state from, ibv_qp_state to, int mask) {
  for (const Transition& one : table) {
    if (one.from != from || one.to != to) continue;
    const int required = IBV_QP_STATE | one.required;
    return (mask & required) == required && (mask & ~(required | one.optional)) == 0;
  }
  return false;
}

bool is_legal(const Pair& pair, ibv_qp_state to, int mask) {
  const ibv_qp_state from = pair.qp_base.state;
  if (pair.kind == PairKind::dct) return listed(kDct, from, to, mask);
  if (to == IBV_QPS_RESET) return mask == IBV_QP_STATE;
  if (to == IBV_QPS_ERR) return from != IBV_QPS_RESET && mask == IBV_QP_STATE;
  return pair.kind == PairKind::dci ? listed(kDci, from, to, mask) : listed(kRc, from, to, mask);
}

/// Values that Linux's mlx5_ib_modify_qp refuses.
bool values_are_valid(const Options& options, const ibv_qp_attr& attributes, int mask) {
  if ((mask & IBV_QP_PORT) != 0 && attributes.port_num != kPort) return false;
  if ((mask & IBV_QP_PKEY_INDEX) != 0 && attributes.pkey_index != 0) return false;
  if ((mask & IBV_QP_PATH_MTU) != 0 &&
      (attributes.path_mtu < IBV_MTU_256 || attributes.path_mtu > IBV_MTU_4096))
    return false;
  if ((mask & IBV_QP_MAX_QP_RD_ATOMIC) != 0 && attributes.max_rd_atomic > 16) return false;
  if ((mask & IBV_QP_MAX_DEST_RD_ATOMIC) != 0 && attributes.max_dest_rd_atomic > 16) return false;
  if ((mask & IBV_QP_TIMEOUT) != 0 && attributes.timeout > 31) return false;
  if ((mask & IBV_QP_RETRY_CNT) != 0 && attributes.retry_cnt > 7) return false;
  if ((mask & IBV_QP_RNR_RETRY) != 0 && attributes.rnr_retry > 7) return false;
  if ((mask & IBV_QP_MIN_RNR_TIMER) != 0 && attributes.min_rnr_timer > 31) return false;
  // Linux, ib_core: RoCE resolves its address from the GRH.
  return (mask & IBV_QP_AV) == 0 || !options.ethernet || attributes.ah_attr.is_global != 0;
}

void take_values(Pair& pair, const ibv_qp_attr& from, int mask) {
  ibv_qp_attr& to = pair.attributes;
  if ((mask & IBV_QP_ACCESS_FLAGS) != 0) to.qp_access_flags = from.qp_access_flags;
  if ((mask & IBV_QP_AV) != 0) to.ah_attr = from.ah_attr;
  if ((mask & IBV_QP_PATH_MTU) != 0) to.path_mtu = from.path_mtu;
  if ((mask & IBV_QP_DEST_QPN) != 0) to.dest_qp_num = from.dest_qp_num;
  if ((mask & IBV_QP_RQ_PSN) != 0) to.rq_psn = from.rq_psn;
  if ((mask & IBV_QP_SQ_PSN) != 0) to.sq_psn = from.sq_psn;
  if ((mask & IBV_QP_TIMEOUT) != 0) to.timeout = from.timeout;
  if ((mask & IBV_QP_RETRY_CNT) != 0) to.retry_cnt = from.retry_cnt;
  if ((mask & IBV_QP_RNR_RETRY) != 0) to.rnr_retry = from.rnr_retry;
  if ((mask & IBV_QP_MIN_RNR_TIMER) != 0) to.min_rnr_timer = from.min_rnr_timer;
  if ((mask & IBV_QP_MAX_QP_RD_ATOMIC) != 0) to.max_rd_atomic = from.max_rd_atomic;
  if ((mask & IBV_QP_MAX_DEST_RD_ATOMIC) != 0) to.max_dest_rd_atomic = from.max_dest_rd_atomic;
}

void reset(Network& network, Pair& pair) {
  ++network.counters.resets;
  let_go(network, pair);
  ++pair.generation;
  forget(*static_cast<CompletionQueue*>(pair.qp_base.send_cq), pair);
  if (pair.qp_base.recv_cq != nullptr)
    forget(*static_cast<CompletionQueue*>(pair.qp_base.recv_cq), pair);
  pair.freed = pair.completed = pair.arrived = pair.posted;
  pair.arriving = pair.halted = pair.away = false;
  pair.busy_until_ns = pair.last_arrive_ns = pair.last_end_ns = 0;
  pair.attached.fill(0);
  pair.errored_streams.clear();
  pair.attributes = {};
}

}  // namespace
}  // namespace emulated_mlx5

using namespace emulated_mlx5;

int ibv_modify_qp(ibv_qp* qp, ibv_qp_attr* attributes, int mask) {
  const Locked net;
  net->pump();
  Pair& pair = pair_of(qp);
  const ibv_qp_state to = (mask & IBV_QP_STATE) != 0 ? attributes->qp_state : qp->state;
  if (!is_legal(pair, to, (mask & IBV_QP_STATE) != 0 ? mask : mask | IBV_QP_STATE)) return EINVAL;
  if (!values_are_valid(net->options, *attributes, mask)) return EINVAL;
  if (to == IBV_QPS_RESET) {
    reset(*net, pair);
  } else if (to == IBV_QPS_ERR) {
    fail_pair(*net, pair);
  }
  take_values(pair, *attributes, mask);
  qp->state = to;
  return 0;
}

int ibv_query_qp(ibv_qp* qp, ibv_qp_attr* attributes, int, ibv_qp_init_attr* init) {
  const Locked net;
  net->pump();
  const Pair& pair = pair_of(qp);
  *attributes = pair.attributes;
  attributes->qp_state = attributes->cur_qp_state = qp->state;
  attributes->cap = {pair.requests_max, 0, pair.sges_max, 0, pair.inline_max};
  *init = {};
  init->send_cq = qp->send_cq;
  init->recv_cq = qp->recv_cq;
  init->srq = qp->srq;
  init->cap = attributes->cap;
  init->qp_type = qp->qp_type;
  return 0;
}

int mlx5dv_dci_stream_id_reset(ibv_qp* qp, uint16_t stream) {
  const Locked net;
  Pair& pair = pair_of(qp);
  if (pair.kind != PairKind::dci || pair.streams == 1) return EINVAL;
  std::erase(pair.errored_streams, stream);
  return 0;
}
