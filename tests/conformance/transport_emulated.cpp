// SPDX-License-Identifier: Apache-2.0
// rc and dc on the emulated device: in real time ("dc"), or in virtual time ("dc-virtual"), with
// delays that differ from one send queue to the next.
#include <algorithm>
#include <memory>
#include <stdexcept>

#include "base/clock.hpp"
#include "copyrpc/fabric/verbs/verbs_fabric.hpp"
#include "tests/conformance/transport.hpp"
#include "tests/emulated_mlx5/emulated_mlx5.hpp"

namespace copyrpc::conformance {
namespace {

constexpr uint64_t kStepNsMax = 100'000;

std::unique_ptr<Fabric> make(bool is_dc, const Wish& wish) {
  VerbsOptions options;
  options.address = "127.0.0.1";
  options.peers_max = wish.peers_max;
  options.posts_max = wish.posts_max;
  options.initiators = 2;  // fewer than peers: most cases share one
  auto fabric = is_dc ? make_dc_fabric(options) : make_rc_fabric(options);
  if (!fabric) throw std::runtime_error(fabric.error);
  return std::move(*fabric);
}

void use_virtual_time(Transport& transport) {
  auto clock = std::make_shared<copykv::ManualClock>(1);
  emulated_mlx5::Options options;
  options.clock = clock.get();
  options.jitter_ns = 3'000;
  emulated_mlx5::configure(options);
  transport.is_real = false;
  transport.pass_time = [clock] {
    const uint64_t due_ns = emulated_mlx5::next_due_ns();
    const uint64_t now_ns = clock->now_ns();
    clock->advance_ns(due_ns <= now_ns ? 1 : std::min(due_ns - now_ns, kStepNsMax));
  };
}

}  // namespace

Transport make_transport(const std::string& name) {
  Transport transport;
  if (name != "rc" && name != "dc" && name != "rc-virtual" && name != "dc-virtual") {
    transport.absent = "the emulated device has no transport '" + name + "'";
    return transport;
  }
  const bool is_dc = name.starts_with("dc");
  transport.make = [is_dc](const Wish& wish) { return make(is_dc, wish); };
  transport.pass_time = [] {};
  if (name.ends_with("-virtual")) {
    transport.one_process = "virtual time is within one process";
    use_virtual_time(transport);
    return transport;
  }
  if (!emulated_mlx5::is_shared())
    transport.one_process = "COPYKV_EMULATED_MLX5 names no directory for several processes";
  emulated_mlx5::configure({});
  return transport;
}

}  // namespace copyrpc::conformance
