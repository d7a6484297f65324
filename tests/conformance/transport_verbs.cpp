// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <sstream>
#include <stdexcept>

#include "copyrpc/fabric/verbs/verbs_fabric.hpp"
#include "tests/conformance/transport.hpp"

namespace copyrpc::conformance {
namespace {

/// Of "rc:mlx5_0,mlx5_1"; none after a name alone.
std::vector<std::string> devices_named(const std::string& name) {
  std::vector<std::string> devices;
  const auto colon = name.find(':');
  if (colon == std::string::npos) return devices;
  std::istringstream list(name.substr(colon + 1));
  for (std::string one; std::getline(list, one, ',');) devices.push_back(one);
  return devices;
}

/// Those that have a port for this transport.
std::vector<std::string> devices_found(bool is_dc) {
  std::vector<std::string> devices;
  const auto ports = verbs_ports({});
  if (!ports) return devices;
  for (const VerbsPort& port : *ports) {
    const bool has = port.reason.empty() && (is_dc ? port.dc_reason : port.rc_reason).empty();
    if (has && std::find(devices.begin(), devices.end(), port.device) == devices.end())
      devices.push_back(port.device);
  }
  return devices;
}

}  // namespace

/// Endpoints take turns with the devices, so that what they say crosses the network.
Transport verbs_transport(const std::string& name) {
  const bool is_dc = name.starts_with("dc");
  std::vector<std::string> devices = devices_named(name);
  Transport transport;
  VerbsOptions first;
  if (!devices.empty()) first.device = devices.front();
  transport.absent = is_dc ? dc_missing(first) : rc_missing(first);
  if (!transport.absent.empty()) return transport;
  if (devices.empty()) devices = devices_found(is_dc);
  auto made = std::make_shared<size_t>(0);
  transport.make = [is_dc, devices = std::move(devices), made](const Wish& wish) {
    VerbsOptions options;
    options.peers_max = wish.peers_max;
    options.posts_max = wish.posts_max;
    if (!devices.empty()) options.device = devices[(*made)++ % devices.size()];
    auto fabric = is_dc ? make_dc_fabric(options) : make_rc_fabric(options);
    if (!fabric) throw std::runtime_error(fabric.error);
    return std::move(*fabric);
  };
  transport.pass_time = [] {};
  transport.keys_counted = "a verbs device gives out its keys itself";
  return transport;
}

}  // namespace copyrpc::conformance
