// SPDX-License-Identifier: Apache-2.0
// An endpoint made with plain verbs, for tests of the device itself.
#pragma once

#include <infiniband/mlx5dv.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "tests/emulated_mlx5/emulated_mlx5.hpp"

namespace emulated_mlx5 {

/// Virtual time from 1 us on, and a device with those options.
struct Time {
  copykv::ManualClock clock{1'000};
  explicit Time(Options options = {}) {
    options.clock = &clock;
    configure(options);
  }
  /// Until nothing is due; returns how long that took.
  uint64_t run(ibv_cq* cq) {
    const uint64_t start_ns = clock.now_ns();
    for (uint64_t due_ns = next_due_ns(); due_ns != ~uint64_t{0}; due_ns = next_due_ns()) {
      if (due_ns > clock.now_ns()) clock.advance_ns(due_ns - clock.now_ns());
      (void)ibv_poll_cq(cq, 0, nullptr);
    }
    return clock.now_ns() - start_ns;
  }
};

struct Host {
  static constexpr uint64_t kKey = 0x1234'5678'9abc'def0;
  static constexpr uint64_t kWrites =
      IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM | IBV_QP_EX_WITH_RDMA_READ;

  ibv_context* context = nullptr;
  ibv_pd* pd = nullptr;
  ibv_cq* cq = nullptr;
  ibv_srq* srq = nullptr;
  ibv_mr* mr = nullptr;
  ibv_qp* dct = nullptr;
  std::vector<ibv_qp*> pairs;
  std::vector<ibv_ah*> addresses;
  std::vector<std::byte> bytes = std::vector<std::byte>(65'536);

  explicit Host(int cqe = 63) {
    ibv_device** list = ibv_get_device_list(nullptr);
    context = ibv_open_device(list[0]);
    ibv_free_device_list(list);
    pd = ibv_alloc_pd(context);
    cq = ibv_create_cq(context, cqe, nullptr, nullptr, 0);
    ibv_srq_init_attr wanted{};
    wanted.attr = {16, 1, 0};
    srq = ibv_create_srq(pd, &wanted);
    mr = ibv_reg_mr(pd, bytes.data(), bytes.size(),
                    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ);
  }
  ~Host() {
    for (ibv_qp* pair : pairs) ibv_destroy_qp(pair);
    for (ibv_ah* address : addresses) ibv_destroy_ah(address);
    close_dct();
    ibv_dereg_mr(mr);
    ibv_destroy_srq(srq);
    ibv_destroy_cq(cq);
    ibv_dealloc_pd(pd);
    ibv_close_device(context);
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  void close_dct() {
    if (dct != nullptr) ibv_destroy_qp(dct);
    dct = nullptr;
  }
  void post_receives(int count) {
    for (int at = 0; at < count; ++at) {
      ibv_recv_wr one{};
      ibv_recv_wr* bad = nullptr;
      REQUIRE(ibv_post_srq_recv(srq, &one, &bad) == 0);
    }
  }
  void open_dct() {
    ibv_qp_init_attr_ex wanted = basic(0);
    wanted.srq = srq;
    mlx5dv_qp_init_attr direct{};
    direct.comp_mask = MLX5DV_QP_INIT_ATTR_MASK_DC;
    direct.dc_init_attr.dc_type = MLX5DV_DCTYPE_DCT;
    direct.dc_init_attr.dct_access_key = kKey;
    dct = mlx5dv_create_qp(context, &wanted, &direct);
    REQUIRE(dct != nullptr);
    ibv_qp_attr to{};
    to.qp_state = IBV_QPS_INIT;
    to.port_num = 1;
    to.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
    REQUIRE(ibv_modify_qp(dct, &to,
                          IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) ==
            0);
    to.qp_state = IBV_QPS_RTR;
    to.path_mtu = IBV_MTU_4096;
    to.min_rnr_timer = 1;
    REQUIRE(ibv_modify_qp(dct, &to,
                          IBV_QP_STATE | IBV_QP_MIN_RNR_TIMER | IBV_QP_AV | IBV_QP_PATH_MTU) == 0);
  }

  ibv_qp_init_attr_ex basic(uint32_t requests, uint32_t inline_bytes = 0) const {
    ibv_qp_init_attr_ex wanted{};
    wanted.send_cq = wanted.recv_cq = cq;
    wanted.cap.max_send_wr = requests;
    wanted.cap.max_send_sge = 1;
    wanted.cap.max_inline_data = inline_bytes;
    wanted.qp_type = IBV_QPT_DRIVER;
    wanted.pd = pd;
    wanted.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
    wanted.send_ops_flags = kWrites;
    return wanted;
  }
  /// In RESET; null with errno: refused.
  ibv_qp* make_dci(uint32_t requests, uint32_t inline_bytes = 0, ibv_qp_cap* granted = nullptr,
                   mlx5dv_dci_streams streams = {}) {
    ibv_qp_init_attr_ex wanted = basic(requests, inline_bytes);
    mlx5dv_qp_init_attr direct{};
    direct.comp_mask = MLX5DV_QP_INIT_ATTR_MASK_DC;
    direct.dc_init_attr.dc_type = MLX5DV_DCTYPE_DCI;
    if (streams.log_num_concurent > 0) {
      direct.comp_mask |= MLX5DV_QP_INIT_ATTR_MASK_DCI_STREAMS;
      direct.dc_init_attr.dci_streams = streams;
    }
    ibv_qp* made = mlx5dv_create_qp(context, &wanted, &direct);
    if (made != nullptr) pairs.push_back(made);
    if (granted != nullptr) *granted = wanted.cap;
    return made;
  }
  static void bring_up(ibv_qp* dci) {
    ibv_qp_attr to{};
    to.qp_state = IBV_QPS_INIT;
    to.port_num = 1;
    REQUIRE(ibv_modify_qp(dci, &to, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT) == 0);
    to.qp_state = IBV_QPS_RTR;
    to.path_mtu = IBV_MTU_1024;
    REQUIRE(ibv_modify_qp(dci, &to, IBV_QP_STATE | IBV_QP_PATH_MTU) == 0);
    to.qp_state = IBV_QPS_RTS;
    to.timeout = 8;
    to.retry_cnt = 2;
    to.rnr_retry = 2;
    to.max_rd_atomic = 1;
    REQUIRE(ibv_modify_qp(dci, &to,
                          IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                              IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_SQ_PSN) == 0);
  }
  ibv_qp* open_dci(uint32_t requests = 16, uint32_t inline_bytes = 0) {
    ibv_qp* made = make_dci(requests, inline_bytes);
    REQUIRE(made != nullptr);
    bring_up(made);
    return made;
  }
  ibv_ah* address_of(const Host& other) {
    ibv_port_attr port{};
    REQUIRE(ibv_query_port(other.context, 1, &port) == 0);
    ibv_ah_attr wanted{};
    wanted.dlid = port.lid;
    wanted.port_num = 1;
    addresses.push_back(ibv_create_ah(pd, &wanted));
    REQUIRE(addresses.back() != nullptr);
    return addresses.back();
  }
  struct Write {
    uint64_t id = 0;
    uint32_t bytes = 8;
    bool announced = false;
    bool signalled = true;
    uint64_t offset = 0;
    uint32_t rkey = 0;  ///< 0: the right one
    uint64_t key = kKey;
    uint16_t stream = 0;
  };
  /// 0 or an errno value.
  static int write(ibv_qp* dci, ibv_ah* address, const Host& from, const Host& to,
                   const Write& what) {
    ibv_qp_ex* pair = ibv_qp_to_qp_ex(dci);
    ibv_wr_start(pair);
    pair->wr_id = what.id;
    pair->wr_flags = what.signalled ? unsigned{IBV_SEND_SIGNALED} : 0;
    const uint32_t rkey = what.rkey == 0 ? to.mr->rkey : what.rkey;
    const uint64_t remote = reinterpret_cast<uint64_t>(to.bytes.data()) + what.offset;
    if (what.announced)
      ibv_wr_rdma_write_imm(pair, rkey, remote, htobe32(static_cast<uint32_t>(what.id)));
    else
      ibv_wr_rdma_write(pair, rkey, remote);
    mlx5dv_wr_set_dc_addr_stream(mlx5dv_qp_ex_from_ibv_qp_ex(pair), address,
                                 to.dct == nullptr ? 1 : to.dct->qp_num, what.key, what.stream);
    ibv_wr_set_sge(pair, from.mr->lkey, reinterpret_cast<uint64_t>(from.bytes.data()), what.bytes);
    return ibv_wr_complete(pair);
  }
  std::vector<ibv_wc> poll() const {
    std::array<ibv_wc, 64> found{};
    const int count = ibv_poll_cq(cq, found.size(), found.data());
    return {found.begin(), found.begin() + count};
  }
};

}  // namespace emulated_mlx5
