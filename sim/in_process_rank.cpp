// SPDX-License-Identifier: Apache-2.0
#include "sim/in_process_rank.hpp"

#include <stdexcept>
#include <utility>
#include <vector>

#include "daemon/job_card.hpp"

namespace copykv::sim {

InProcessRank make_rank(uint32_t number, std::unique_ptr<copyrpc::Fabric> fabric,
                        copyrpc::NodeOptions node, InProcessDaemon::Options daemon,
                        const Clock& clock, StoreMemory& memory,
                        const std::function<Network&(RpcNetwork&)>& through) {
  const uint32_t ranks = daemon.rank_count;
  const Routing routing = make_routing(std::vector<uint32_t>(ranks, 1), number);
  InProcessRank rank;
  if (fabric != nullptr) {
    node.node = node_of(number, 0);
    node.nodes = ranks * kRailsMax;
    node.peers_max = ranks - 1;
    const Region& arena = memory.arena();
    auto network =
        RpcNetwork::create(std::move(fabric), node, clock, {arena.base, arena.virtual_bytes});
    if (!network) throw std::runtime_error(network.error);
    rank.network = std::move(*network);
    rank.network->set_owners(routing.nodes);
    daemon.network = through ? &through(*rank.network) : rank.network.get();
  }
  daemon.clock = &clock;
  daemon.memory = &memory;
  rank.daemon = std::make_unique<InProcessDaemon>(daemon);
  routing.write_to(rank.daemon->rank());
  return rank;
}

}  // namespace copykv::sim
