// SPDX-License-Identifier: Apache-2.0
// In builds without libmlx5: the transport is refused with the reason.
#include "copyrpc/fabric/verbs/verbs_fabric.hpp"

namespace copyrpc {

copykv::Outcome<std::unique_ptr<Fabric>> make_dc_fabric(const VerbsOptions& options) {
  return copykv::Failure{"dc: " + dc_missing(options)};
}

std::string dc_missing(const VerbsOptions&) {
  return "this copykv was built without libmlx5; install libibverbs-dev and build again "
         "(meson setup -Dverbs=enabled)";
}

copykv::Outcome<uint32_t> dc_inline_granted(const VerbsOptions& options) {
  return copykv::Failure{dc_missing(options)};
}

}  // namespace copyrpc
