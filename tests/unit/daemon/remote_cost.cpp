// SPDX-License-Identifier: Apache-2.0
// Driver for counting instructions of remote operations, both daemons together: the client's daemon
// sends a group, the owner's serves it, the client's takes the answers. Counted are these three
// turns as a whole, in steady state: every key is there, and everything that a turn does now and
// then (the clock, timing a call, credit) comes as often as it always does. Not
// counted is what is not the daemon's: the client, filling the store, populating memory, and the
// fabric between them, which copies bytes as a network would. Run it under callgrind by
// engine_cost.py, which knows the names of what is counted and what is not.
//
//   remote_cost get|put GROUP    1,024 keys, 8-byte keys and values, GROUP requests per turn
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.hpp"
#include "daemon/job_card.hpp"
#include "daemon/rpc_network.hpp"
#include "sim/in_process.hpp"

namespace {

using namespace copykv;
using copyrpc::Access;
using copyrpc::LocalPart;
using copyrpc::Memory;
using copyrpc::PeerId;
using copyrpc::RemoteMemory;

constexpr uint32_t kKeys = 1024;
constexpr uint32_t kRounds = 1000;

/// One of two endpoints in a process: a post is a copy.
class DirectFabric final : public copyrpc::Fabric {
 public:
  DirectFabric* other = nullptr;

  std::string_view name() const noexcept override { return "direct"; }
  const copyrpc::FabricLimits& limits() const noexcept override { return limits_; }
  std::string address() const override { return "direct"; }
  Outcome<Memory> register_memory(std::byte* base, uint64_t bytes, Access) override {
    return Memory{base, bytes, {reinterpret_cast<uint64_t>(base), 1, bytes}, nullptr};
  }
  void deregister(Memory& memory) override { memory = {}; }
  Outcome<void> connect(PeerId peer, std::string_view) override {
    peer_ = peer;
    return {};
  }
  void disconnect(PeerId) override {}
  Posted write(PeerId, const LocalPart& from, const RemoteMemory& to,
               uint64_t context) noexcept override {
    return copy(from, to, context);
  }
  Posted write_immediate(PeerId, const LocalPart& from, const RemoteMemory& to, uint32_t immediate,
                         uint64_t context) noexcept override {
    other->push({.kind = copyrpc::Completion::Kind::arrived, .immediate = immediate});
    return copy(from, to, context);
  }
  Posted read(PeerId, const LocalPart&, const RemoteMemory&, uint64_t) noexcept override {
    return Posted::down;
  }
  void submit() noexcept override {}
  uint32_t poll(std::span<copyrpc::Completion> completions) noexcept override {
    uint32_t count = 0;
    for (; count < completions.size() && head_ != tail_; ++count) {
      completions[count] = queue_[head_++ % queue_.size()];
    }
    return count;
  }
  int wait_fd() const noexcept override { return -1; }
  bool arm() noexcept override { return true; }

 private:
  Posted copy(const LocalPart& from, const RemoteMemory& to, uint64_t context) noexcept {
    std::memcpy(reinterpret_cast<void*>(to.address), from.memory->base + from.offset, from.bytes);
    if (context != copyrpc::kUnsignalled) push({.peer = peer_, .context = context});
    return Posted::yes;
  }
  void push(const copyrpc::Completion& completion) noexcept {
    queue_[tail_++ % queue_.size()] = completion;
  }
  const copyrpc::FabricLimits limits_{.peers_max = 64, .posts_max = 64};
  PeerId peer_ = 0;
  std::array<copyrpc::Completion, 256> queue_{};
  uint64_t head_ = 0;
  uint64_t tail_ = 0;
};

/// The sender's turn, the owner's, and the sender's again: a group goes and its answers come.
void take_turns(Engine& sender, Engine& owner) noexcept {
  (void)sender.turn();
  (void)owner.turn();
  (void)sender.turn();
}

/// What is counted.
[[gnu::noinline]] void measured_turns(Engine& sender, Engine& owner) noexcept {
  take_turns(sender, owner);
}

struct Rank {
  std::unique_ptr<StoreMemory> memory;
  std::unique_ptr<RpcNetwork> network;
  std::unique_ptr<sim::InProcessDaemon> daemon;
};

Rank make_rank(uint32_t number, std::unique_ptr<DirectFabric> fabric, const Clock& clock) {
  Rank rank;
  rank.memory = std::move(*StoreMemory::create({.budget_bytes = uint64_t{32} << 20}));
  copyrpc::NodeOptions node;
  node.node = node_of(number, 0);
  node.nodes = 2 * kRailsMax;
  node.peers_max = 1;
  const Region& arena = rank.memory->arena();
  rank.network = std::move(
      *RpcNetwork::create(std::move(fabric), node, clock, {arena.base, arena.virtual_bytes}));
  rank.network->set_owners(make_routing({1, 1}, number).nodes);
  rank.daemon = std::make_unique<sim::InProcessDaemon>(
      sim::InProcessDaemon::Options{.fence_free = true,
                                    .turns_per_clock_read = 32,
                                    .rank_count = 2,
                                    .network = rank.network.get(),
                                    .memory = rank.memory.get()});
  return rank;
}

}  // namespace

int main(int argc, char** argv) {
  COPYKV_ASSERT(argc == 3, "usage: remote_cost get|put GROUP");
  const bool is_put = std::string_view(argv[1]) == "put";
  const auto group = static_cast<uint32_t>(std::atoi(argv[2]));
  const SystemClock clock;
  auto first = std::make_unique<DirectFabric>();
  auto second = std::make_unique<DirectFabric>();
  first->other = second.get();
  second->other = first.get();
  Rank sender = make_rank(0, std::move(first), clock);
  Rank owner = make_rank(1, std::move(second), clock);
  for (uint16_t& each : sender.daemon->rank().partition_owner) each = 1;  // all at the other
  sender.network->set_peer(owner.network->node().card());
  owner.network->set_peer(sender.network->node().card());
  const auto seat = sender.daemon->attach({.queue_depth = 64});
  Client client = sender.daemon->client(*seat, Wait::spin);
  while (sender.network->node().peers_up() + owner.network->node().peers_up() < 2) {
    (void)sender.daemon->turn();
    (void)owner.daemon->turn();
  }

  std::vector<std::string> keys;
  for (uint32_t index = 0; index < kKeys; ++index) keys.push_back(fmt::format("{:08}", index));
  std::array<Completion, 64> completions;
  uint32_t next = 0;
  const auto round = [&](bool put, bool measured) {
    for (uint32_t index = 0; index < group; ++index, ++next) {
      const std::string& key = keys[next % kKeys];
      const Status status = put ? client.submit_put(key, key, next) : client.submit_get(key, next);
      COPYKV_ASSERT(status == Status::ok, "submit: {}", to_string(status));
    }
    (measured ? measured_turns : take_turns)(sender.daemon->engine(), owner.daemon->engine());
    const size_t taken = client.poll(completions);
    COPYKV_ASSERT(taken == group, "taken={}", taken);
    for (size_t index = 0; index < taken; ++index) {
      COPYKV_ASSERT(completions[index].result.ok(), "status");
    }
    sender.daemon->populate();
    owner.daemon->populate();
  };
  for (uint32_t filled = 0; filled < kKeys; filled += group) round(true, false);
  for (uint32_t index = 0; index < kRounds; ++index) round(is_put, true);
  fmt::print("operations {}\n", kRounds * group);
  return 0;
}
