// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "copyrpc/fabric/verbs/verbs_fabric.hpp"

namespace copyrpc {

AutoTransport auto_transport(const VerbsOptions& options) {
  const std::string missing = rc_missing(options);
  if (!missing.empty())
    return {"ofi-tcp", fmt::format("auto: ofi-tcp, which reaches any host; not rc: {}", missing)};
  return {"rc",
          "auto: rc, since there is an RDMA device with an active port; dc has not run on a "
          "ConnectX yet and must be asked for"};
}

}  // namespace copyrpc
