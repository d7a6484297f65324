// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <stdexcept>

#include "copyrpc/fabric/verbs/verbs_fabric.hpp"
#include "tests/conformance/transport.hpp"

namespace copyrpc::conformance {
namespace {

using Made = copykv::Outcome<std::unique_ptr<Fabric>>;

/// Endpoints take turns with `devices`, so that what they say crosses the network; none: each takes
/// what is the default.
Transport verbs_transport(std::string absent, Made (*make)(const VerbsOptions&),
                          std::vector<std::string> devices) {
  Transport transport;
  transport.absent = std::move(absent);
  auto made = std::make_shared<size_t>(0);
  transport.make = [make, devices = std::move(devices), made](const Wish& wish) {
    VerbsOptions options;
    options.peers_max = wish.peers_max;
    options.posts_max = wish.posts_max;
    if (!devices.empty()) options.device = devices[(*made)++ % devices.size()];
    auto fabric = make(options);
    if (!fabric) throw std::runtime_error(fabric.error);
    return std::move(*fabric);
  };
  transport.pass_time = [] {};
  transport.keys_counted = "a verbs device gives out its keys itself";
  return transport;
}

}  // namespace

Transport rc_transport() {
  std::vector<std::string> devices;
  for (const VerbsPort& port : verbs_ports({}))
    if (port.reason.empty()) devices.push_back(port.device);
  return verbs_transport(rc_missing({}), make_rc_fabric, std::move(devices));
}

Transport dc_transport() {
  return verbs_transport(dc_missing({}), make_dc_fabric, {});
}

}  // namespace copyrpc::conformance
