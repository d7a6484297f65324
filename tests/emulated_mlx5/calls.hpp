// SPDX-License-Identifier: Apache-2.0
// What stands in the function tables of a context.
#pragma once

#include "tests/emulated_mlx5/network.hpp"

namespace emulated_mlx5 {

int poll_cq(ibv_cq* cq, int entries_max, ibv_wc* wc);
int req_notify_cq(ibv_cq* cq, int solicited_only);
int post_srq_recv(ibv_srq* srq, ibv_recv_wr* requests, ibv_recv_wr** bad);
ibv_qp* create_qp_ex(ibv_context* context, ibv_qp_init_attr_ex* attributes);

/// The send operations of a queue pair (work_requests.cpp).
void fill_operations(Pair& pair);

}  // namespace emulated_mlx5
