// SPDX-License-Identifier: Apache-2.0
// A rank of one daemon over copyrpc, inside the caller's thread: nobody but the caller takes its
// turns.
#pragma once

#include <functional>
#include <memory>

#include "daemon/rpc_network.hpp"
#include "sim/in_process.hpp"

namespace copykv::sim {

struct InProcessRank {
  std::unique_ptr<RpcNetwork> network{};  ///< nullptr: alone
  std::unique_ptr<InProcessDaemon> daemon{};
};

/// Rank `number` of a job of daemon.rank_count ranks with one daemon each; of `node`, its number
/// and the numbers of nodes and peers are set here, of `daemon`, clock, network and memory.
/// `fabric` is nullptr for a rank that is alone. `through`: what the engine is given instead of its
/// network. Clock, memory and that must outlive the rank. Throws what names the reason.
[[nodiscard]] InProcessRank make_rank(uint32_t number, std::unique_ptr<copyrpc::Fabric> fabric,
                                      copyrpc::NodeOptions node, InProcessDaemon::Options daemon,
                                      const Clock& clock, StoreMemory& memory,
                                      const std::function<Network&(RpcNetwork&)>& through = {});

}  // namespace copykv::sim
