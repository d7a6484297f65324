// SPDX-License-Identifier: Apache-2.0
// What the emulated device refuses, as a ConnectX or its driver would.
#include "tests/emulated_mlx5/host.hpp"

namespace emulated_mlx5 {
namespace {

TEST_CASE("sizes of a send queue are computed from the segments") {
  configure({});
  Host host;
  ibv_qp_cap granted{};
  REQUIRE(host.make_dci(128, 172, &granted) != nullptr);
  CHECK(granted.max_inline_data == 172);  // 256 B less 80 B of headers and 4 B
  REQUIRE(host.make_dci(128, 173, &granted) != nullptr);
  CHECK(granted.max_inline_data == 236);  // the next block
  REQUIRE(host.make_dci(128, 0, &granted) != nullptr);
  CHECK(granted.max_inline_data == 44);  // 96 B are two basic blocks
  CHECK(host.make_dci(32'768 / 2, 0) != nullptr);
  CHECK(host.make_dci(32'768 / 2 + 1, 0) == nullptr);
  CHECK(errno == EINVAL);
  CHECK(host.make_dci(32'768 / 4 + 1, 172) == nullptr);
  CHECK(host.make_dci(16, 1024) == nullptr);
}

TEST_CASE("a request beyond its inline room, or half built, is refused and rolled back") {
  configure({});
  Host a;
  Host b;
  b.open_dct();
  ibv_qp* dci = a.open_dci(16, 172);
  ibv_qp_ex* pair = ibv_qp_to_qp_ex(dci);
  ibv_ah* to_b = a.address_of(b);
  const auto begin = [&] {
    ibv_wr_start(pair);
    pair->wr_flags = IBV_SEND_SIGNALED;
    ibv_wr_rdma_write(pair, b.mr->rkey, reinterpret_cast<uint64_t>(b.bytes.data()));
  };
  const auto address = [&] {
    mlx5dv_wr_set_dc_addr(mlx5dv_qp_ex_from_ibv_qp_ex(pair), to_b, b.dct->qp_num, Host::kKey);
  };
  begin();
  address();
  ibv_wr_set_inline_data(pair, a.bytes.data(), 173);
  CHECK(ibv_wr_complete(pair) == ENOMEM);
  begin();
  ibv_wr_set_inline_data(pair, a.bytes.data(), 172);  // no address
  CHECK(ibv_wr_complete(pair) == EINVAL);
  begin();
  address();  // no data
  CHECK(ibv_wr_complete(pair) == EINVAL);
  CHECK(a.poll().empty());
  begin();
  address();
  ibv_wr_set_inline_data(pair, a.bytes.data(), 172);
  CHECK(ibv_wr_complete(pair) == 0);
  CHECK(a.poll().size() == 1);
}

TEST_CASE("the states of a DCI: wrong orders and wrong attributes") {
  configure({});
  Host host;
  ibv_qp* dci = host.make_dci(16);
  ibv_qp_attr to{};
  to.port_num = 1;
  const auto refused = [&](ibv_qp_state state, int mask) {
    to.qp_state = state;
    return ibv_modify_qp(dci, &to, IBV_QP_STATE | mask) == EINVAL;
  };
  CHECK(refused(IBV_QPS_RTS, 0));
  CHECK(refused(IBV_QPS_INIT, IBV_QP_PKEY_INDEX));
  CHECK(refused(IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS));
  to.port_num = 2;
  CHECK(refused(IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT));
  to.port_num = 1;
  CHECK_FALSE(refused(IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT));
  CHECK(refused(IBV_QPS_RTR, 0));
  to.path_mtu = IBV_MTU_4096;
  CHECK(refused(IBV_QPS_RTR, IBV_QP_PATH_MTU | IBV_QP_DEST_QPN));
  CHECK_FALSE(refused(IBV_QPS_RTR, IBV_QP_PATH_MTU));
  CHECK(refused(IBV_QPS_RTS, IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY));
  to.retry_cnt = 8;
  CHECK(refused(IBV_QPS_RTS, IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                 IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_SQ_PSN));
  CHECK(dci->state == IBV_QPS_RTR);
}

TEST_CASE("the states of a DCT: never to RTS, never back") {
  configure({});
  Host host;
  host.open_dct();
  ibv_qp_attr to{};
  for (const ibv_qp_state state : {IBV_QPS_RTS, IBV_QPS_RESET, IBV_QPS_ERR, IBV_QPS_INIT}) {
    to.qp_state = state;
    CHECK(ibv_modify_qp(host.dct, &to, IBV_QP_STATE) == EINVAL);
  }
}

TEST_CASE("a DCT needs a shared receive queue, and DC is of its own type") {
  configure({});
  Host host;
  ibv_qp_init_attr_ex wanted = host.basic(16);
  mlx5dv_qp_init_attr direct{};
  direct.comp_mask = MLX5DV_QP_INIT_ATTR_MASK_DC;
  direct.dc_init_attr.dc_type = MLX5DV_DCTYPE_DCT;
  CHECK(mlx5dv_create_qp(host.context, &wanted, &direct) == nullptr);
  direct.dc_init_attr.dc_type = MLX5DV_DCTYPE_DCI;
  wanted.qp_type = IBV_QPT_RC;
  CHECK(mlx5dv_create_qp(host.context, &wanted, &direct) == nullptr);
  CHECK(host.make_dci(16, 0, nullptr, {3, 1}) == nullptr);  // streams that it does not have
}

TEST_CASE("posting before RTS") {
  configure({});
  Host a;
  Host b;
  b.open_dct();
  ibv_qp* dci = a.make_dci(16);
  CHECK(Host::write(dci, a.address_of(b), a, b, {}) == EINVAL);
}

TEST_CASE("receive entries: full, too many parts, and the part of no bytes") {
  configure({});
  Host host;
  ibv_recv_wr one{};
  ibv_recv_wr* bad = nullptr;
  ibv_sge nothing{reinterpret_cast<uint64_t>(host.bytes.data()), 0, host.mr->lkey};
  one.sg_list = &nothing;
  one.num_sge = 1;
  CHECK(ibv_post_srq_recv(host.srq, &one, &bad) == EINVAL);
  CHECK(bad == &one);
  one.num_sge = 2;
  CHECK(ibv_post_srq_recv(host.srq, &one, &bad) == EINVAL);
  one.num_sge = 0;
  host.post_receives(31);  // 16 wished, rounded up to a power of two less one
  CHECK(ibv_post_srq_recv(host.srq, &one, &bad) == ENOMEM);
}

TEST_CASE("memory that peers write must be writable here; RoCE wants the routing header") {
  Options options;
  options.ethernet = true;
  configure(options);
  Host host;
  CHECK(ibv_reg_mr(host.pd, host.bytes.data(), 64, int{IBV_ACCESS_REMOTE_WRITE}) == nullptr);
  ibv_ah_attr way{};
  way.port_num = 1;
  CHECK(ibv_create_ah(host.pd, &way) == nullptr);
  CHECK(errno == EINVAL);
}

TEST_CASE("objects in use are not destroyed") {
  configure({});
  {
    Host host;
    host.open_dct();
    CHECK(ibv_destroy_cq(host.cq) == EBUSY);
    CHECK(ibv_destroy_srq(host.srq) == EBUSY);
    CHECK(ibv_dealloc_pd(host.pd) == EBUSY);
  }
  CHECK(live_objects() == 0);
}

}  // namespace
}  // namespace emulated_mlx5
