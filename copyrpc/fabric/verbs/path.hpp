// SPDX-License-Identifier: Apache-2.0
// The way to a peer's port.
#pragma once

#include <cstdint>
#include <cstring>

#include "copyrpc/fabric/verbs/device.hpp"

namespace copyrpc::verbs {

/// One end of it, as it travels over the side channel.
struct PathEnd {
  uint8_t gid[16] = {};
  uint16_t lid = 0;
  uint8_t mtu = 0;       ///< ibv_mtu
  uint8_t ethernet = 0;  ///< 0 or 1
};
static_assert(sizeof(PathEnd) == 20);

[[nodiscard]] inline PathEnd path_end(const Device& device) noexcept {
  PathEnd end;
  std::memcpy(end.gid, device.gid.raw, sizeof(end.gid));
  end.lid = device.link.lid;
  end.mtu = static_cast<uint8_t>(device.link.active_mtu);
  end.ethernet = device.ethernet() ? 1 : 0;
  return end;
}

/// Whether the two can be on one network at all, and what the peer says makes sense.
[[nodiscard]] inline bool fits(const Device& device, const PathEnd& remote) noexcept {
  return (remote.ethernet != 0) == device.ethernet() && remote.mtu >= IBV_MTU_256 &&
         remote.mtu <= IBV_MTU_4096;
}

/// What both ports can carry.
[[nodiscard]] inline ibv_mtu common_mtu(const Device& device, const PathEnd& remote) noexcept {
  const auto mine = static_cast<uint8_t>(device.link.active_mtu);
  return static_cast<ibv_mtu>(mine < remote.mtu ? mine : remote.mtu);
}

/// Ethernet and other subnets need the routing header, one InfiniBand subnet does not.
[[nodiscard]] inline ibv_ah_attr way_to(const Device& device, const PathEnd& remote) noexcept {
  ibv_ah_attr way{};
  const bool same_subnet = std::memcmp(device.gid.raw, remote.gid, 8) == 0;
  way.port_num = device.port;
  way.sl = device.service_level;
  way.dlid = remote.lid;
  if (device.ethernet() || !same_subnet) {
    constexpr uint8_t kHopsMax = 64;
    way.is_global = 1;
    std::memcpy(way.grh.dgid.raw, remote.gid, sizeof(remote.gid));
    way.grh.sgid_index = static_cast<uint8_t>(device.gid_index);
    way.grh.hop_limit = kHopsMax;
    way.grh.traffic_class = device.traffic_class;
  }
  return way;
}

}  // namespace copyrpc::verbs
