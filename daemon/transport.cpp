// SPDX-License-Identifier: Apache-2.0
#include "daemon/transport.hpp"

#include <fmt/format.h>

#include "copyrpc/fabric/ofi/ofi_fabric.hpp"

namespace copykv {

Outcome<TransportChoice> choose_transport(const std::string& wanted) {
  if (wanted == "auto") {
    return TransportChoice{"ofi-tcp",
                           "auto: ofi-tcp, which reaches any host; verbs transports are "
                           "not part of this version"};
  }
  if (wanted == "rc" || wanted == "dc") {
    return Failure{
        fmt::format("--transport {}: this version has no verbs transports; use ofi-tcp, "
                    "ofi-shm, or ofi:<provider> (ofi:verbs;ofi_rxm reaches RDMA)",
                    wanted)};
  }
  if (wanted == "sim") {
    return Failure{
        "--transport sim: a simulated network has no daemons of its own; use benchkv or "
        "copykv-sim for that, and ofi-tcp or ofi-shm here"};
  }
  if (copyrpc::ofi_provider_of(wanted).empty()) {
    return Failure{
        fmt::format("--transport {}: use auto, ofi-tcp, ofi-shm or ofi:<provider>", wanted)};
  }
  return TransportChoice{wanted, fmt::format("{}, as asked", wanted)};
}

Outcome<std::unique_ptr<copyrpc::Fabric>> make_fabric(const TransportChoice& choice,
                                                      const FabricOptions& options) {
  copyrpc::OfiOptions ofi;
  ofi.provider = copyrpc::ofi_provider_of(choice.name);
  ofi.node = options.address;
  ofi.peers_max = options.peers_max;
  return copyrpc::make_ofi_fabric(ofi);
}

}  // namespace copykv
