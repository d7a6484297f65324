// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <stdexcept>

#include "copyrpc/fabric/verbs/verbs_fabric.hpp"
#include "tests/conformance/transport.hpp"

namespace copyrpc::conformance {

Transport rc_transport() {
  Transport transport;
  transport.absent = rc_missing({});
  std::vector<std::string> devices;
  for (const VerbsPort& port : verbs_ports({}))
    if (port.reason.empty()) devices.push_back(port.device);
  auto made = std::make_shared<size_t>(0);
  transport.make = [devices, made](const Wish& wish) {
    VerbsOptions options;
    options.peers_max = wish.peers_max;
    options.posts_max = wish.posts_max;
    // Endpoints take turns with the devices, so that what they say crosses the network.
    if (!devices.empty()) options.device = devices[(*made)++ % devices.size()];
    auto fabric = make_rc_fabric(options);
    if (!fabric) throw std::runtime_error(fabric.error);
    return std::move(*fabric);
  };
  transport.pass_time = [] {};
  transport.keys_counted = "a verbs device gives out its keys itself";
  return transport;
}

}  // namespace copyrpc::conformance
