// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <memory>

#include "base/clock.hpp"
#include "copyrpc/fabric/sim/sim_fabric.hpp"
#include "tests/conformance/transport.hpp"

namespace copyrpc::conformance {
namespace {

/// Endpoints of one network, which must outlive them: the last one ends it.
struct Shared {
  copykv::ManualClock clock{1};
  std::map<uint32_t, std::shared_ptr<SimNetwork>> networks;  ///< by posts_max
};

}  // namespace

Transport sim_transport() {
  auto shared = std::make_shared<Shared>();
  Transport transport;
  transport.is_real = false;
  transport.make = [shared](const Wish& wish) {
    auto& network = shared->networks[wish.posts_max];
    if (network == nullptr) {
      SimOptions options;
      options.posts_max = wish.posts_max;
      options.peers_max = wish.peers_max;
      options.jitter_ns = 500;
      options.receive_entries = 1U << 20;
      network = std::make_shared<SimNetwork>(options, shared->clock);
    }
    return network->attach();
  };
  transport.pass_time = [shared] {
    uint64_t due_ns = UINT64_MAX;
    for (const auto& [posts_max, network] : shared->networks) {
      due_ns = std::min(due_ns, network->next_due_ns());
    }
    const uint64_t now_ns = shared->clock.now_ns();
    shared->clock.advance_ns(due_ns <= now_ns ? 1 : std::min<uint64_t>(due_ns - now_ns, 100'000));
  };
  return transport;
}

}  // namespace copyrpc::conformance
