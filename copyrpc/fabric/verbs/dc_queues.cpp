// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/dc_queues.hpp"

#include <endian.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/entropy.hpp"
#include "copyrpc/fabric/verbs/errors.hpp"

namespace copyrpc::verbs {
namespace {

using copykv::Outcome;

constexpr uint8_t kAckTimeout = 8;  // 4.096 us * 2^8 = 1.05 ms, seven times
constexpr uint8_t kRetries = 6;     // 7 means for ever to some devices
constexpr uint8_t kRnrRetries = 6;  // 7 means for ever
constexpr uint8_t kRnrTimer = 12;   // 0.64 ms, seven times
constexpr uint8_t kReadsMax = 16;
constexpr uint64_t kOperations =
    IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM | IBV_QP_EX_WITH_RDMA_READ;

copykv::Failure refused(const Device& device, std::string_view call) {
  return failure(device.name, call, errno == 0 ? EIO : errno);
}

}  // namespace

Outcome<Dci> Dci::make(const Device& device, ibv_cq* completions, const Sizes& sizes) {
  ibv_qp_init_attr_ex wanted{};
  wanted.send_cq = completions;
  wanted.recv_cq = completions;
  wanted.cap.max_send_wr = sizes.requests;
  wanted.cap.max_send_sge = 1;
  wanted.cap.max_inline_data = sizes.inline_bytes;
  wanted.qp_type = IBV_QPT_DRIVER;
  wanted.pd = device.domain.get();
  wanted.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
  wanted.send_ops_flags = kOperations;
  mlx5dv_qp_init_attr direct{};
  direct.comp_mask = MLX5DV_QP_INIT_ATTR_MASK_DC;
  direct.dc_init_attr.dc_type = MLX5DV_DCTYPE_DCI;
  errno = 0;
  Dci made;
  made.queue_.reset(mlx5dv_create_qp(device.context.get(), &wanted, &direct));
  if (!made.queue_) return refused(device, "mlx5dv_create_qp of a DC initiator");
  made.extended_ = ibv_qp_to_qp_ex(made.queue_.get());
  made.direct_ = mlx5dv_qp_ex_from_ibv_qp_ex(made.extended_);
  made.inline_bytes_ = std::min(wanted.cap.max_inline_data, sizes.inline_bytes);
  if (const int error = made.bring_up(device); error != 0)
    return failure(device.name, "ibv_modify_qp of a DC initiator", error);
  return made;
}

int Dci::bring_up(const Device& device) noexcept {
  ibv_qp_attr to{};
  to.qp_state = IBV_QPS_INIT;
  to.port_num = device.port;
  int error = ibv_modify_qp(queue_.get(), &to, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT);
  if (error != 0) return error;
  to = {};
  to.qp_state = IBV_QPS_RTR;
  to.path_mtu = device.link.active_mtu;
  error = ibv_modify_qp(queue_.get(), &to, IBV_QP_STATE | IBV_QP_PATH_MTU);
  if (error != 0) return error;
  to = {};
  to.qp_state = IBV_QPS_RTS;
  to.timeout = kAckTimeout;
  to.retry_cnt = kRetries;
  to.rnr_retry = kRnrRetries;
  to.max_rd_atomic =
      static_cast<uint8_t>(std::clamp<int>(device.limits.max_qp_init_rd_atom, 1, kReadsMax));
  return ibv_modify_qp(queue_.get(), &to,
                       IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                           IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_SQ_PSN);
}

int Dci::recover(const Device& device) noexcept {
  ibv_qp_attr to{};
  to.qp_state = IBV_QPS_RESET;
  const int error = ibv_modify_qp(queue_.get(), &to, IBV_QP_STATE);
  return error != 0 ? error : bring_up(device);
}

void Dci::add(const Request& request, const DcWay& way, uint64_t id, bool signalled) noexcept {
  extended_->wr_id = id;
  extended_->wr_flags = signalled ? unsigned{IBV_SEND_SIGNALED} : 0;
  set_operation(extended_, request);
  mlx5dv_wr_set_dc_addr(direct_, way.address, way.number, way.access_key);
  set_payload(extended_, request, request.fits_inline(inline_bytes_));
}

Outcome<Dct> Dct::make(const Device& device, ibv_cq* completions, ibv_srq* receives) {
  Dct made;
  made.access_key_ = copykv::random_word();
  ibv_qp_init_attr_ex wanted{};
  wanted.send_cq = completions;
  wanted.recv_cq = completions;
  wanted.srq = receives;
  wanted.qp_type = IBV_QPT_DRIVER;
  wanted.pd = device.domain.get();
  wanted.comp_mask = IBV_QP_INIT_ATTR_PD;
  mlx5dv_qp_init_attr direct{};
  direct.comp_mask = MLX5DV_QP_INIT_ATTR_MASK_DC;
  direct.dc_init_attr.dc_type = MLX5DV_DCTYPE_DCT;
  direct.dc_init_attr.dct_access_key = made.access_key_;
  errno = 0;
  made.queue_.reset(mlx5dv_create_qp(device.context.get(), &wanted, &direct));
  if (!made.queue_) return refused(device, "mlx5dv_create_qp of a DC target");
  ibv_qp_attr to{};
  to.qp_state = IBV_QPS_INIT;
  to.port_num = device.port;
  to.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  int error = ibv_modify_qp(made.queue_.get(), &to,
                            IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  if (error != 0) return failure(device.name, "ibv_modify_qp of a DC target to INIT", error);
  to = {};
  to.qp_state = IBV_QPS_RTR;
  to.path_mtu = device.link.active_mtu;
  to.min_rnr_timer = kRnrTimer;
  to.ah_attr = way_to(device, path_end(device));  // of it: port, class, source GID, hops
  error = ibv_modify_qp(made.queue_.get(), &to,
                        IBV_QP_STATE | IBV_QP_MIN_RNR_TIMER | IBV_QP_AV | IBV_QP_PATH_MTU);
  if (error != 0) return failure(device.name, "ibv_modify_qp of a DC target to RTR", error);
  return made;
}

DcEnd Dct::end(const Device& device) const noexcept {
  return {access_key_, path_end(device), queue_->qp_num};
}

}  // namespace copyrpc::verbs
