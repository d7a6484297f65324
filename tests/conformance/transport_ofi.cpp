// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include "copyrpc/fabric/ofi/ofi_fabric.hpp"
#include "tests/conformance/transport.hpp"

namespace copyrpc::conformance {

Transport ofi_transport(const std::string& name) {
  OfiOptions options;
  options.provider = ofi_provider_of(name);
  if (options.provider != "shm") options.node = "127.0.0.1";
  Transport transport;
  transport.absent = ofi_missing(options);
  transport.make = [options](const Wish& wish) {
    OfiOptions wished = options;
    wished.peers_max = wish.peers_max;
    wished.posts_max = wish.posts_max;
    auto fabric = make_ofi_fabric(wished);
    if (!fabric) throw std::runtime_error(fabric.error);
    return std::move(*fabric);
  };
  transport.pass_time = [] {};
  if (options.provider != "tcp") {
    transport.refusals_untold = "libfabric's unconnected endpoints drop what they refuse";
    transport.loss_untold = "libfabric's unconnected endpoints have no event for it";
  }
  if (options.provider == "shm")
    transport.loss_fatal = "libfabric 1.17 goes on using the memory of an endpoint that is gone";
  return transport;
}

}  // namespace copyrpc::conformance
