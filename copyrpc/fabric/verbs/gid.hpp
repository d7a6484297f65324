// SPDX-License-Identifier: Apache-2.0
// Choosing among the GIDs of a port. InfiniBand ports have theirs at index 0. RoCE ports have one
// for each address of the network interface and each version of the protocol; only version 2 can be
// routed, and IPv4 is what most networks are set up for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "copyrpc/fabric/verbs/address.hpp"
#include "copyrpc/fabric/verbs/owned.hpp"

namespace copyrpc::verbs {

struct Gid {
  uint32_t index = 0;
  ibv_gid value{};
  std::string type;  ///< "InfiniBand", "RoCE v1", "RoCE v2"
};

/// `wanted` < 0: the best one. An error names the port and what there is.
[[nodiscard]] copykv::Outcome<Gid> choose_gid(ibv_context* context, uint8_t port,
                                              const ibv_port_attr& link, int32_t wanted);

/// The IP address that a RoCE v2 GID stands for; none for a link-local one.
[[nodiscard]] std::optional<IpAddress> ip_of_gid(const ibv_gid& gid) noexcept;
[[nodiscard]] std::string gid_text(const ibv_gid& gid);

}  // namespace copyrpc::verbs
