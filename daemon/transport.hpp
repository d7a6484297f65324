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

/// What --transport means on this machine. A transport that was asked for by name is used or the
/// program fails with the reason; only `auto` chooses.
[[nodiscard]] Outcome<TransportChoice> choose_transport(const std::string& wanted);

struct FabricOptions {
  std::string address;  ///< to bind to; empty: the transport's choice
  uint32_t peers_max = 64;
};
[[nodiscard]] Outcome<std::unique_ptr<copyrpc::Fabric>> make_fabric(const TransportChoice& choice,
                                                                    const FabricOptions& options);

}  // namespace copykv
