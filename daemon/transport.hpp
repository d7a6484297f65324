// SPDX-License-Identifier: Apache-2.0
// Transports by name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.hpp"
#include "copyrpc/fabric/fabric.hpp"

namespace copykv {

struct TransportChoice {
  std::string name;  ///< "ofi-tcp", ...
  std::string why;   ///< what auto took, and why not something better
};

/// What a transport can be told.
struct FabricOptions {
  std::string address{};  ///< to bind to; empty: the transport's choice
  uint32_t peers_max = 64;
  // Of the verbs transports.
  std::string device{};    ///< empty: the nearest with an active port
  uint32_t port = 0;       ///< 0: the first active one
  int32_t gid_index = -1;  ///< -1: the best one
  bool relaxed_ordering = false;
  uint8_t traffic_class = 0;
  uint32_t dc_initiators = 16;  ///< of dc: send queues that all peers share
};

/// What --transport means on this machine. A transport that was asked for by name is used or the
/// program fails with the reason; only `auto` chooses.
[[nodiscard]] Outcome<TransportChoice> choose_transport(const std::string& wanted,
                                                        const FabricOptions& options);

[[nodiscard]] Outcome<std::unique_ptr<copyrpc::Fabric>> make_fabric(const TransportChoice& choice,
                                                                    const FabricOptions& options);

}  // namespace copykv
