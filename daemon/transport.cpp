// SPDX-License-Identifier: Apache-2.0
#include "daemon/transport.hpp"

#include <fmt/format.h>

#include "copyrpc/fabric/ofi/ofi_fabric.hpp"
#include "copyrpc/fabric/verbs/verbs_fabric.hpp"

namespace copykv {

namespace {

copyrpc::VerbsOptions verbs_options(const FabricOptions& options) {
  copyrpc::VerbsOptions verbs;
  verbs.device = options.device;
  verbs.port = options.port;
  verbs.gid_index = options.gid_index;
  verbs.address = options.address;
  verbs.peers_max = options.peers_max;
  verbs.relaxed_ordering = options.relaxed_ordering;
  verbs.traffic_class = options.traffic_class;
  verbs.initiators = options.dc_initiators;
  return verbs;
}

}  // namespace

Outcome<TransportChoice> choose_transport(const std::string& wanted, const FabricOptions& options) {
  if (wanted == "auto") {
    auto best = copyrpc::auto_transport(verbs_options(options));
    return TransportChoice{std::move(best.name), std::move(best.why)};
  }
  if (wanted == "rc") {
    const std::string missing = copyrpc::rc_missing(verbs_options(options));
    if (!missing.empty()) return Failure{fmt::format("--transport rc: {}", missing)};
    return TransportChoice{wanted, "rc, as asked"};
  }
  if (wanted == "dc") {
    const std::string missing = copyrpc::dc_missing(verbs_options(options));
    if (!missing.empty()) return Failure{fmt::format("--transport dc: {}", missing)};
    return TransportChoice{wanted, "dc, as asked"};
  }
  if (wanted == "sim") {
    return Failure{
        "--transport sim: a simulated network has no daemons of its own; use benchkv or "
        "copykv-sim for that, and ofi-tcp or ofi-shm here"};
  }
  if (copyrpc::ofi_provider_of(wanted).empty()) {
    return Failure{fmt::format(
        "--transport {}: use auto, rc, dc, ofi-tcp, ofi-shm or ofi:<provider>", wanted)};
  }
  return TransportChoice{wanted, fmt::format("{}, as asked", wanted)};
}

Outcome<std::unique_ptr<copyrpc::Fabric>> make_fabric(const TransportChoice& choice,
                                                      const FabricOptions& options) {
  if (choice.name == "dc") return copyrpc::make_dc_fabric(verbs_options(options));
  if (choice.name == "rc") return copyrpc::make_rc_fabric(verbs_options(options));
  copyrpc::OfiOptions ofi;
  ofi.provider = copyrpc::ofi_provider_of(choice.name);
  ofi.node = options.address;
  ofi.peers_max = options.peers_max;
  return copyrpc::make_ofi_fabric(ofi);
}

}  // namespace copykv
