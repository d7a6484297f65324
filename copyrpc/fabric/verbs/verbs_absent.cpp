// SPDX-License-Identifier: Apache-2.0
// In builds without libibverbs: transports over verbs are refused with the reason.
#include "copyrpc/fabric/verbs/verbs_fabric.hpp"

namespace copyrpc {

copykv::Outcome<std::unique_ptr<Fabric>> make_rc_fabric(const VerbsOptions& options) {
  return copykv::Failure{"rc: " + rc_missing(options)};
}

std::string rc_missing(const VerbsOptions&) {
  return "this copykv was built without libibverbs; install libibverbs-dev and build again "
         "(meson setup -Dverbs=enabled)";
}

copykv::Outcome<uint32_t> rc_inline_granted(const VerbsOptions& options) {
  return copykv::Failure{rc_missing(options)};
}

copykv::Outcome<std::vector<VerbsPort>> verbs_ports(const VerbsOptions& options) {
  return copykv::Failure{rc_missing(options)};
}

}  // namespace copyrpc
