// SPDX-License-Identifier: Apache-2.0
// Choosing and opening a libfabric provider: what it must offer, and the objects that live as long
// as an endpoint. The bare ping-pong of bench/micro opens its endpoints with the same calls, so
// that it measures the same provider set-up.
#pragma once

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_rma.h>

#include <memory>
#include <string>

#include "copyrpc/fabric/ofi/ofi_fabric.hpp"

namespace copyrpc::ofi {

struct CloseFid {
  template <class T>
  void operator()(T* object) const noexcept {
    (void)fi_close(&object->fid);
  }
};
template <class T>
using Owned = std::unique_ptr<T, CloseFid>;

struct FreeInfo {
  void operator()(fi_info* info) const noexcept { fi_freeinfo(info); }
};
using Info = std::unique_ptr<fi_info, FreeInfo>;

/// What every endpoint needs. Members are closed in reverse order.
struct Domain {
  Info info;
  Owned<fid_fabric> fabric;
  Owned<fid_domain> domain;
  Owned<fid_cq> completions;
  int wait_fd = -1;  ///< of the completion queue; -1: it has none

  [[nodiscard]] bool connected_endpoints() const noexcept {
    return info->ep_attr->type == FI_EP_MSG;
  }
};

/// "fi_domain of provider net: Cannot allocate memory".
[[nodiscard]] copykv::Failure failure(const Domain& domain, const char* what, int64_t error);

/// Finds a provider that keeps the promises of Fabric, as `options` ask, without opening it.
[[nodiscard]] copykv::Outcome<Info> find_provider(const OfiOptions& options);
/// The same, opened.
[[nodiscard]] copykv::Outcome<Domain> open_domain(const OfiOptions& options);

/// An endpoint of `info` whose completions go to the domain's queue, not yet enabled.
[[nodiscard]] copykv::Outcome<Owned<fid_ep>> open_endpoint(Domain& domain, fi_info* info,
                                                           void* context);

}  // namespace copyrpc::ofi
