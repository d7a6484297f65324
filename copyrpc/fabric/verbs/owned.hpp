// SPDX-License-Identifier: Apache-2.0
// Objects of libibverbs with an owner. Members are destroyed in the reverse order of their
// declaration: queue pairs before the queues that they use, everything before the device.
#pragma once

#include <infiniband/verbs.h>

#include <memory>

namespace copyrpc::verbs {

struct Destroy {
  void operator()(ibv_context* one) const noexcept { (void)ibv_close_device(one); }
  void operator()(ibv_pd* one) const noexcept { (void)ibv_dealloc_pd(one); }
  void operator()(ibv_comp_channel* one) const noexcept { (void)ibv_destroy_comp_channel(one); }
  void operator()(ibv_cq* one) const noexcept { (void)ibv_destroy_cq(one); }
  void operator()(ibv_srq* one) const noexcept { (void)ibv_destroy_srq(one); }
  void operator()(ibv_qp* one) const noexcept { (void)ibv_destroy_qp(one); }
  void operator()(ibv_ah* one) const noexcept { (void)ibv_destroy_ah(one); }
};
template <class T>
using Owned = std::unique_ptr<T, Destroy>;

}  // namespace copyrpc::verbs
