// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/rc_queue_pair.hpp"

#include <endian.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/entropy.hpp"
#include "copyrpc/fabric/verbs/errors.hpp"

namespace copyrpc::verbs {
namespace {

using copykv::Outcome;

constexpr uint8_t kAckTimeout = 14;  // 4.096 us * 2^14 = 67 ms
constexpr uint8_t kRetries = 6;      // 7 means for ever to some devices
constexpr uint8_t kRnrRetries = 6;   // 7 means for ever
constexpr uint8_t kRnrTimer = 20;    // 10 ms
constexpr uint32_t kPacketNumberMask = 0xff'ffff;
constexpr uint32_t kReadsMax = 16;

/// Asks for ibv_wr_ calls, and does without where the provider has none.
ibv_qp* create(const Device& device, ibv_qp_init_attr_ex wanted, ibv_qp_cap& granted) noexcept {
  wanted.pd = device.domain.get();
  wanted.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
  wanted.send_ops_flags =
      IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM | IBV_QP_EX_WITH_RDMA_READ;
  ibv_qp_init_attr_ex request = wanted;
  ibv_qp* made = ibv_create_qp_ex(device.context.get(), &request);
  if (made == nullptr && (errno == EOPNOTSUPP || errno == ENOSYS)) {
    request = wanted;
    request.comp_mask = IBV_QP_INIT_ATTR_PD;
    made = ibv_create_qp_ex(device.context.get(), &request);
  }
  granted = request.cap;
  return made;
}

unsigned send_flags(bool signalled, bool as_inline) noexcept {
  unsigned flags = signalled ? unsigned{IBV_SEND_SIGNALED} : 0;
  if (as_inline) flags |= IBV_SEND_INLINE;
  return flags;
}

}  // namespace

Outcome<RcQueuePair> RcQueuePair::make(const Device& device, ibv_cq* completions, ibv_srq* receives,
                                       const RcSizes& sizes) {
  ibv_qp_init_attr_ex wanted{};
  wanted.send_cq = completions;
  wanted.recv_cq = completions;
  wanted.srq = receives;
  wanted.cap.max_send_wr = sizes.requests;
  wanted.cap.max_send_sge = 1;
  wanted.qp_type = IBV_QPT_RC;
  RcQueuePair made;
  // Nobody tells what a device can inline before it is asked for too much.
  ibv_qp_cap granted{};
  for (uint32_t inline_bytes = sizes.inline_bytes;; inline_bytes /= 2) {
    wanted.cap.max_inline_data = inline_bytes;
    errno = 0;
    made.queue_.reset(create(device, wanted, granted));
    if (made.queue_ || inline_bytes == 0 || errno == EMFILE || errno == ENOSPC) break;
  }
  if (!made.queue_) return failure(device.name, "ibv_create_qp_ex", errno == 0 ? EIO : errno);
  made.extended_ = ibv_qp_to_qp_ex(made.queue_.get());
  made.inline_bytes_ = std::min(granted.max_inline_data, sizes.inline_bytes);
  made.first_packet_ = static_cast<uint32_t>(copykv::random_word()) & kPacketNumberMask;

  ibv_qp_attr to{};
  to.qp_state = IBV_QPS_INIT;
  to.port_num = device.port;
  to.qp_access_flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  const int error = ibv_modify_qp(
      made.queue_.get(), &to, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  if (error != 0) return failure(device.name, "ibv_modify_qp to INIT", error);
  return made;
}

RcEnd RcQueuePair::end(const Device& device) const noexcept {
  RcEnd end;
  end.path = path_end(device);
  end.number = queue_->qp_num;
  end.first_packet = first_packet_;
  end.reads_in_max = std::min(static_cast<uint32_t>(device.limits.max_qp_rd_atom), kReadsMax);
  return end;
}

bool RcQueuePair::connect(const Device& device, const RcEnd& remote) noexcept {
  if (!fits(device, remote.path)) return false;
  ibv_qp_attr to{};
  to.qp_state = IBV_QPS_RTR;
  to.path_mtu = common_mtu(device, remote.path);
  to.dest_qp_num = remote.number;
  to.rq_psn = remote.first_packet & kPacketNumberMask;
  to.max_dest_rd_atomic = static_cast<uint8_t>(end(device).reads_in_max);
  to.min_rnr_timer = kRnrTimer;
  to.ah_attr = way_to(device, remote.path);
  if (ibv_modify_qp(queue_.get(), &to,
                    IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                        IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) != 0)
    return false;
  to = {};
  to.qp_state = IBV_QPS_RTS;
  to.timeout = kAckTimeout;
  to.retry_cnt = kRetries;
  to.rnr_retry = kRnrRetries;
  to.sq_psn = first_packet_;
  const auto reads_out = static_cast<uint32_t>(device.limits.max_qp_init_rd_atom);
  to.max_rd_atomic = static_cast<uint8_t>(std::min({remote.reads_in_max, reads_out, kReadsMax}));
  return ibv_modify_qp(queue_.get(), &to,
                       IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                           IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC) == 0;
}

int RcQueuePair::post_extended(const Request& request, uint64_t id, bool signalled) noexcept {
  const bool as_inline = request.fits_inline(inline_bytes_);
  ibv_wr_start(extended_);
  extended_->wr_id = id;
  // The flag is implied by ibv_wr_set_inline_data; Soft-RoCE wants it all the same.
  extended_->wr_flags = send_flags(signalled, as_inline);
  set_operation(extended_, request);
  set_payload(extended_, request, as_inline);
  return ibv_wr_complete(extended_);
}

int RcQueuePair::post_plain(const Request& request, uint64_t id, bool signalled) noexcept {
  constexpr std::array kOpcodes = {IBV_WR_RDMA_WRITE, IBV_WR_RDMA_WRITE_WITH_IMM, IBV_WR_RDMA_READ};
  ibv_sge part{reinterpret_cast<uint64_t>(request.local), request.bytes, request.local_key};
  ibv_send_wr work{};
  work.wr_id = id;
  work.sg_list = &part;
  work.num_sge = 1;
  work.opcode = kOpcodes[static_cast<size_t>(request.kind)];
  work.send_flags = send_flags(signalled, request.fits_inline(inline_bytes_));
  work.imm_data = htobe32(request.immediate);
  work.wr.rdma.remote_addr = request.remote;
  work.wr.rdma.rkey = request.remote_key;
  ibv_send_wr* refused = nullptr;
  return ibv_post_send(queue_.get(), &work, &refused);
}

}  // namespace copyrpc::verbs
