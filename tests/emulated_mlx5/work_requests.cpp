// SPDX-License-Identifier: Apache-2.0
// ibv_wr_*: requests are built in the send queue, and leave with wr_complete.
#include <cerrno>
#include <cstring>

#include "base/assert.hpp"
#include "tests/emulated_mlx5/calls.hpp"

namespace emulated_mlx5 {
namespace {

Request& current(Pair& pair) {
  return pair.at(pair.posted + pair.building - 1);
}

void refuse(Pair& pair, int error) {
  if (pair.build_error == 0) pair.build_error = error;
}

/// rdma-core, _common_wqe_finalize: a request counts once its last setter has run; one that lacks
/// a setter is overwritten by the next one without a word. Here that is an error.
void check_finished(Pair& pair) {
  if (pair.building == 0 || pair.build_error != 0) return;
  const Request& request = current(pair);
  const bool addressed = request.addressed || pair.kind != PairKind::dci;
  if (!request.has_data || !addressed) refuse(pair, EINVAL);
}

void begin(ibv_qp_ex* qp, ibv_wr_opcode opcode, uint64_t needed, uint32_t rkey, uint64_t address,
           __be32 immediate) {
  Pair& pair = pair_of(qp);
  COPYKV_ASSERT(pair.in_build, "an operation outside wr_start and wr_complete");
  // ibv_wr_post(3): only the operations named at creation.
  if ((pair.send_ops & needed) == 0) return refuse(pair, EINVAL);
  check_finished(pair);
  // rdma-core, mlx5_wq_overflow: the queue is free up to the last completion that was polled.
  if (pair.posted - pair.freed + pair.building >= pair.requests_max) return refuse(pair, ENOMEM);
  if (pair.build_error != 0) return;
  ++pair.building;
  Request& request = current(pair);
  request = Request{};
  request.wr_id = qp->wr_id;
  request.flags = qp->wr_flags;
  request.opcode = opcode;
  request.rkey = rkey;
  request.remote_address = address;
  request.immediate = immediate;
}

void write(ibv_qp_ex* qp, uint32_t rkey, uint64_t address) {
  begin(qp, IBV_WR_RDMA_WRITE, IBV_QP_EX_WITH_RDMA_WRITE, rkey, address, 0);
}
void write_imm(ibv_qp_ex* qp, uint32_t rkey, uint64_t address, __be32 immediate) {
  begin(qp, IBV_WR_RDMA_WRITE_WITH_IMM, IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM, rkey, address,
        immediate);
}
void read(ibv_qp_ex* qp, uint32_t rkey, uint64_t address) {
  begin(qp, IBV_WR_RDMA_READ, IBV_QP_EX_WITH_RDMA_READ, rkey, address, 0);
}

void set_sge_list(ibv_qp_ex* qp, size_t count, const ibv_sge* list) {
  Pair& pair = pair_of(qp);
  if (pair.build_error != 0) return;
  if (count > pair.sges_max || count > kSgesMax) return refuse(pair, ENOMEM);
  Request& request = current(pair);
  request.has_data = true;
  for (size_t at = 0; at < count; ++at)
    if (list[at].length > 0) request.sge[request.sges++] = list[at];  // as rdma-core drops them
}
void set_sge(ibv_qp_ex* qp, uint32_t lkey, uint64_t address, uint32_t bytes) {
  const ibv_sge one{address, bytes, lkey};
  set_sge_list(qp, 1, &one);
}

void set_inline_list(ibv_qp_ex* qp, size_t count, const ibv_data_buf* list) {
  Pair& pair = pair_of(qp);
  if (pair.build_error != 0) return;
  Request& request = current(pair);
  size_t bytes = 0;
  for (size_t at = 0; at < count; ++at) bytes += list[at].length;
  // rdma-core, _mlx5_send_wr_set_inline_data: ENOMEM beyond what the request has room for. A read
  // has nothing to send.
  if (bytes > pair.inline_max) return refuse(pair, ENOMEM);
  if (request.opcode == IBV_WR_RDMA_READ) return refuse(pair, EINVAL);
  std::byte* to = pair.inline_at(pair.posted + pair.building - 1);
  for (size_t at = 0; at < count; ++at) {
    if (list[at].length > 0) std::memcpy(to, list[at].addr, list[at].length);
    to += list[at].length;
  }
  request.has_data = true;
  request.is_inline = true;
  request.inline_bytes = static_cast<uint32_t>(bytes);
}
void set_inline(ibv_qp_ex* qp, void* address, size_t bytes) {
  const ibv_data_buf one{address, bytes};
  set_inline_list(qp, 1, &one);
}

void set_dc_stream(mlx5dv_qp_ex* direct, ibv_ah* ah, uint32_t dctn, uint64_t key, uint16_t stream) {
  Pair& pair = *static_cast<DirectPart*>(direct)->owner;
  if (pair.build_error != 0) return;
  Request& request = current(pair);
  request.address = static_cast<Address*>(ah)->attributes;
  request.dctn = dctn;
  request.dc_key = key;
  request.stream = stream;
  request.addressed = true;
}
void set_dc(mlx5dv_qp_ex* direct, ibv_ah* ah, uint32_t dctn, uint64_t key) {
  set_dc_stream(direct, ah, dctn, key, 0);
}

void start(ibv_qp_ex* qp) {
  Pair& pair = pair_of(qp);
  COPYKV_ASSERT(!pair.in_build, "wr_start twice");
  pair.in_build = true;
  pair.building = 0;
  pair.build_error = 0;
}

int finish(ibv_qp_ex* qp) {
  Pair& pair = pair_of(qp);
  COPYKV_ASSERT(pair.in_build, "wr_complete without wr_start");
  check_finished(pair);
  pair.in_build = false;
  if (pair.build_error != 0) return pair.build_error;
  const Locked net;
  // InfiniBand specification, C10-96: before RTS a send request is an immediate error.
  if (pair.qp_base.state != IBV_QPS_RTS && pair.qp_base.state != IBV_QPS_ERR) return EINVAL;
  ring_doorbell(*net, pair, pair.posted + pair.building);
  return 0;
}

void abort_build(ibv_qp_ex* qp) {
  pair_of(qp).in_build = false;
}

}  // namespace

void fill_operations(Pair& pair) {
  pair.wr_rdma_write = write;
  pair.wr_rdma_write_imm = write_imm;
  pair.wr_rdma_read = read;
  pair.wr_set_sge = set_sge;
  pair.wr_set_sge_list = set_sge_list;
  pair.wr_set_inline_data = set_inline;
  pair.wr_set_inline_data_list = set_inline_list;
  pair.wr_start = start;
  pair.wr_complete = finish;
  pair.wr_abort = abort_build;
  pair.direct.owner = &pair;
  pair.direct.wr_set_dc_addr = set_dc;
  pair.direct.wr_set_dc_addr_stream = set_dc_stream;
}

}  // namespace emulated_mlx5
