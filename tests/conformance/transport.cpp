// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/transport.hpp"

namespace copyrpc::conformance {

Transport make_transport(const std::string& name) {
  if (name.starts_with("ofi")) return ofi_transport(name);
  if (name == "sim") return sim_transport();
  if (name.starts_with("rc") || name.starts_with("dc")) return verbs_transport(name);
  Transport none;
  none.absent = "no transport is called '" + name + "'";
  return none;
}

}  // namespace copyrpc::conformance
