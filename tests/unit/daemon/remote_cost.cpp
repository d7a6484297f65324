// SPDX-License-Identifier: Apache-2.0
// Driver for counting instructions of remote operations, both daemons together: the client's daemon
// sends a group, the owner's serves it, the client's takes the answers. Counted are these three
// turns as a whole, in steady state: every key is there, and everything that a turn does now and
// then (the clock, timing a call, credit) comes as often as it always does. Not
// counted is what is not the daemon's: the client, filling the store, populating memory, and the
// fabric between them, which copies bytes as a network would. Run it under callgrind by
// engine_cost.py, which knows the names of what is counted and what is not.
//
//   remote_cost get|put GROUP [EVERY]        1,024 keys, 8-byte keys and values, GROUP requests per
//                                            turn; both ranks stamp, and every EVERYth is sampled
//   remote_cost get|put GROUP EVERY PAIRS    what that costs: processor time of client and daemons
//                                            with and without, in PAIRS of alternating order
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.hpp"
#include "daemon/job_card.hpp"
#include "daemon/rpc_network.hpp"
#include "daemon/station_network.hpp"
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
  std::unique_ptr<StationRing> ring;
  std::unique_ptr<StationNetwork> stations;
  std::unique_ptr<sim::InProcessDaemon> daemon;
};

Rank make_rank(uint32_t number, std::unique_ptr<DirectFabric> fabric, bool stations) {
  Rank rank;
  rank.memory = std::move(*StoreMemory::create({.budget_bytes = uint64_t{32} << 20}));
  copyrpc::NodeOptions node;
  node.node = node_of(number, 0);
  node.nodes = 2 * kRailsMax;
  node.peers_max = 1;
  const Region& arena = rank.memory->arena();
  rank.network = std::move(*RpcNetwork::create(std::move(fabric), node, kSystemClock,
                                               {arena.base, arena.virtual_bytes}));
  rank.network->set_owners(make_routing({1, 1}, number).nodes);
  Network* network = rank.network.get();
  if (stations) {
    rank.ring = std::make_unique<StationRing>();
    rank.stations =
        std::make_unique<StationNetwork>(*rank.network, *rank.ring, false, kSystemClock);
    network = rank.stations.get();
  }
  rank.daemon = std::make_unique<sim::InProcessDaemon>(
      sim::InProcessDaemon::Options{.fence_free = true,
                                    .turns_per_clock_read = 32,
                                    .rank_count = 2,
                                    .network = network,
                                    .memory = rank.memory.get()});
  return rank;
}

/// Two ranks, and a client of the first whose keys are all at the other.
class Pair {
 public:
  /// `every`: of so many requests one is sampled; 0: the ranks do not stamp.
  Pair(uint32_t group, uint32_t every) : group_(group), every_(every) {
    auto first = std::make_unique<DirectFabric>();
    auto second = std::make_unique<DirectFabric>();
    first->other = second.get();
    second->other = first.get();
    sender_ = make_rank(0, std::move(first), every > 0);
    owner_ = make_rank(1, std::move(second), every > 0);
    for (uint16_t& each : sender_.daemon->rank().partition_owner) each = 1;
    sender_.network->set_peer(owner_.network->node().card());
    owner_.network->set_peer(sender_.network->node().card());
    seat_ = sender_.daemon->attach({.queue_depth = 64});
    client_ = std::make_unique<Client>(sender_.daemon->client(*seat_, Wait::spin));
    while (sender_.network->node().peers_up() + owner_.network->node().peers_up() < 2) {
      (void)sender_.daemon->turn();
      (void)owner_.daemon->turn();
    }
    for (uint32_t index = 0; index < kKeys; ++index) keys_.push_back(fmt::format("{:08}", index));
    for (uint32_t filled = 0; filled < kKeys; filled += group) round(true, false);
  }

  void round(bool put, bool measured) {
    for (uint32_t index = 0; index < group_; ++index, ++next_) {
      const std::string& key = keys_[next_ % kKeys];
      if (every_ > 0 && next_ % every_ == 0) {
        COPYKV_ASSERT(client_->sample_next(key).has_value(), "next={}", next_);
      }
      const Status status =
          put ? client_->submit_put(key, key, next_) : client_->submit_get(key, next_);
      COPYKV_ASSERT(status == Status::ok, "submit: {}", to_string(status));
    }
    (measured ? measured_turns : take_turns)(sender_.daemon->engine(), owner_.daemon->engine());
    const size_t taken = client_->poll(completions_);
    COPYKV_ASSERT(taken == group_, "taken={}", taken);
    for (size_t index = 0; index < taken; ++index) {
      COPYKV_ASSERT(completions_[index].result.ok(), "status");
    }
    sender_.daemon->populate();
    owner_.daemon->populate();
  }

  /// Processor time of `rounds` of them.
  uint64_t time_ns(bool put, uint32_t rounds) {
    const auto now_ns = [] {
      timespec now;
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
      return static_cast<uint64_t>(now.tv_sec) * kNanosPerSecond +
             static_cast<uint64_t>(now.tv_nsec);
    };
    const uint64_t began_ns = now_ns();
    for (uint32_t index = 0; index < rounds; ++index) round(put, false);
    return now_ns() - began_ns;
  }

 private:
  const uint32_t group_;
  const uint32_t every_;
  Rank sender_{};
  Rank owner_{};
  std::unique_ptr<sim::Seat> seat_{};
  std::unique_ptr<Client> client_{};
  std::vector<std::string> keys_{};
  std::array<Completion, 64> completions_{};
  uint32_t next_ = 0;
};

/// Prints what sampling costs, in percent of the processor time: the middle of `pairs`, and the
/// quarters around it.
void compare(bool put, uint32_t group, uint32_t every, uint32_t pairs) {
  Pair without(group, 0);
  Pair with(group, every);
  constexpr uint32_t kRoundsOfPair = 400;
  std::vector<double> percent;
  std::vector<double> base_ns;
  for (uint32_t pair = 0; pair < pairs; ++pair) {
    uint64_t without_ns = 0;
    uint64_t with_ns = 0;
    for (uint32_t half = 0; half < 2; ++half) {
      if ((pair + half) % 2 == 0) {
        without_ns = without.time_ns(put, kRoundsOfPair);
      } else {
        with_ns = with.time_ns(put, kRoundsOfPair);
      }
    }
    const auto base = static_cast<double>(without_ns);
    percent.push_back(100 * (static_cast<double>(with_ns) / base - 1));
    base_ns.push_back(base / kRoundsOfPair / group);
  }
  std::sort(percent.begin(), percent.end());
  std::sort(base_ns.begin(), base_ns.end());
  fmt::print("sampling 1 of {}: {:+.2f} % of {:.0f} ns (quarters {:+.2f} to {:+.2f}, {} pairs)\n",
             every, percent[pairs / 2], base_ns[pairs / 2], percent[pairs / 4],
             percent[3 * pairs / 4], pairs);
}

}  // namespace

int main(int argc, char** argv) {
  COPYKV_ASSERT(argc >= 3 && argc <= 5, "usage: remote_cost get|put GROUP [EVERY [PAIRS]]");
  const bool is_put = std::string_view(argv[1]) == "put";
  const auto group = static_cast<uint32_t>(std::atoi(argv[2]));
  const auto every = static_cast<uint32_t>(argc > 3 ? std::atoi(argv[3]) : 0);
  if (argc > 4) {
    compare(is_put, group, every, static_cast<uint32_t>(std::atoi(argv[4])));
    return 0;
  }
  Pair ranks(group, every);
  for (uint32_t index = 0; index < kRounds; ++index) ranks.round(is_put, true);
  fmt::print("operations {}\n", kRounds * group);
  return 0;
}
