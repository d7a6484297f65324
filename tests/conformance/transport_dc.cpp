// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <stdexcept>

#include "copyrpc/fabric/verbs/verbs_fabric.hpp"
#include "tests/conformance/transport.hpp"

namespace copyrpc::conformance {

Transport dc_transport() {
  Transport transport;
  transport.absent = dc_missing({});
  transport.make = [](const Wish& wish) {
    VerbsOptions options;
    options.peers_max = wish.peers_max;
    options.posts_max = wish.posts_max;
    auto fabric = make_dc_fabric(options);
    if (!fabric) throw std::runtime_error(fabric.error);
    return std::move(*fabric);
  };
  transport.pass_time = [] {};
  transport.keys_counted = "a verbs device gives out its keys itself";
  return transport;
}

}  // namespace copyrpc::conformance
