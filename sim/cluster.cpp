// SPDX-License-Identifier: Apache-2.0
#include "sim/cluster.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <stdexcept>

#include "base/hash.hpp"

namespace copykv::sim {
namespace {

/// Memory of earlier lives: making it anew costs more than a short simulation. A child process has
/// its own: the parent's is shared memory.
std::multimap<uint64_t, std::unique_ptr<StoreMemory>>& memory_pool() {
  static std::multimap<uint64_t, std::unique_ptr<StoreMemory>> pool;
  static pid_t owner = ::getpid();
  if (owner != ::getpid()) {
    pool.clear();
    owner = ::getpid();
  }
  return pool;
}

std::unique_ptr<StoreMemory> take_memory(uint64_t bytes) {
  auto& pool = memory_pool();
  if (const auto found = pool.find(bytes); found != pool.end()) {
    auto memory = std::move(found->second);
    pool.erase(found);
    return memory;
  }
  auto made = StoreMemory::create({.budget_bytes = bytes, .huge_pages = HugePages::off});
  if (!made) throw std::runtime_error(made.error);
  return std::move(*made);
}

}  // namespace

Life::~Life() {
  network.reset();
  daemon.reset();
  observed.reset();
  if (memory == nullptr) return;
  InProcessDaemon::clean(*memory);
  const uint64_t bytes = memory->budget_bytes();
  memory_pool().emplace(bytes, std::move(memory));
}

Cluster::Cluster(const ClusterOptions& options)
    : random(options.seed),
      network(
          [&] {
            copyrpc::SimOptions sim = options.profile.network;
            sim.seed = options.seed;
            return sim;
          }(),
          clock),
      options_(options),
      routing_(make_routing(std::vector<uint32_t>(options.ranks, 1), 0)),
      store_delay_ns_max_(options.store_delay_ns_max),
      sleep_after_ns_(options.sleep_after_ns),
      ranks_(options.ranks) {
  if (options_.observer != nullptr) {
    network.watch_departures([this](const copyrpc::SimNetwork::Departure& departure) {
      options_.observer->on_departure(departure);
    });
  }
  for (uint32_t number = 0; number < options_.ranks; ++number) {
    ranks_[number].clock = std::make_unique<RankClock>(clock);
    start(number);
  }
}

Cluster::~Cluster() {
  for (ProcessSlot& slot : processes_) slot.what.reset();
  for (Rank& rank : ranks_) {
    rank.leaving.clear();
    rank.life.reset();
  }
}

// ---- events

void Cluster::set(Alarm& alarm, uint64_t at_ns, Kind kind, uint32_t index) {
  if (at_ns >= alarm.at_ns) return;
  alarm.at_ns = std::max(at_ns, clock.now_ns());
  alarm.order = due_.push(alarm.at_ns, {kind, index});
}

Cluster::Alarm* Cluster::alarm_of(const Due& due) {
  switch (due.kind) {
    case Kind::turn:
      return &ranks_[due.index].turn;
    case Kind::drain:
      return &ranks_[due.index].drain;
    case Kind::step:
      return &processes_[due.index].step;
    case Kind::process_drain:
      return &processes_[due.index].drain;
    case Kind::network:
      return &network_alarm_;
    case Kind::call:
      return nullptr;
  }
  return nullptr;
}

void Cluster::at(uint64_t at_ns, std::function<void()> what) {
  calls_.push_back(std::move(what));
  due_.push(std::max(at_ns, clock.now_ns()),
            {Kind::call, static_cast<uint32_t>(calls_.size() - 1)});
}

void Cluster::run_until(uint64_t at_ns, const std::function<bool()>& done) {
  while (due_.is_due(at_ns)) {
    const auto [due_ns, turn, order, due] = due_.pop();
    if (Alarm* alarm = alarm_of(due); alarm != nullptr) {
      if (alarm->order != order || alarm->at_ns == kNever) continue;  // set anew since
      alarm->at_ns = kNever;
    }
    if (due_ns > clock.now_ns()) clock.advance_ns(due_ns - clock.now_ns());
    dispatch(due);
    set(network_alarm_, network.next_due_ns(), Kind::network, 0);
    if (done && done()) return;
  }
  if (at_ns != kNever && at_ns > clock.now_ns()) clock.advance_ns(at_ns - clock.now_ns());
}

void Cluster::dispatch(const Due& due) {
  switch (due.kind) {
    case Kind::turn:
      return take_turn(due.index);
    case Kind::drain:
      return drain_rank(due.index);
    case Kind::step:
      return step(due.index);
    case Kind::process_drain:
      return drain_process(due.index);
    case Kind::network:
      return run_network();
    case Kind::call: {
      const std::function<void()> what = std::move(calls_[due.index]);
      return what();
    }
  }
}

void Cluster::run_network() {
  network.run();
  tell_touched();
}

/// A rank that polls carries out what is due for everybody: others may be asleep meanwhile.
void Cluster::tell_touched() {
  network.take_touched(touched_);
  for (const uint32_t endpoint : touched_) {
    const uint32_t number = rank_of_endpoint(endpoint);
    if (number == ranks()) continue;
    if (ranks_[number].sleeping) {
      wake(number);
    } else {
      poke(number, clock.now_ns());
    }
  }
}

// ---- ranks

void Cluster::start(uint32_t number) {
  Rank& rank = ranks_[number];
  rank.life = std::make_shared<Life>();
  Life& made = *rank.life;
  made.memory = take_memory(options_.memory_bytes);
  made.incarnation = ++rank.incarnation;
  copyrpc::NodeOptions node = options_.node;
  node.incarnation = made.incarnation;
  node.seed = random.next();
  std::unique_ptr<copyrpc::Fabric> fabric;
  if (options_.ranks > 1) {
    fabric = network.attach();
    made.endpoint = network.endpoints() - 1;
    rank_of_endpoint_.push_back(number);
  }
  InProcessRank parts = make_rank(number, std::move(fabric), node,
                                  {.lanes_max = options_.lanes_max,
                                   .fence_free = options_.fence_free,
                                   .value_bytes_max = options_.value_bytes_max,
                                   .rank_count = options_.ranks},
                                  *rank.clock, *made.memory, [&](RpcNetwork& watched) -> Network& {
                                    made.observed = std::make_unique<ObservedNetwork>(
                                        watched, number, options_.observer);
                                    return *made.observed;
                                  });
  made.network = std::move(parts.network);
  made.daemon = std::move(parts.daemon);
  if (made.observed != nullptr) made.observed->set_owners(made.daemon->rank());
  rank.processor = {};
  rank.processor.share(&made.daemon->block().sleeping, sizeof(uint32_t));
  rank.sleeping = false;
  rank.idle_turns = 0;
  rank.paused_until_ns = 0;
  rank.slow_factor = 1;
  rank.lanes_used = 0;
  rank.free_lanes.clear();
  rank.worked_ns = rank.busy_until_ns = clock.now_ns();
  for (uint32_t other = 0; other < options_.ranks; ++other) {
    if (other == number || ranks_[other].life == nullptr) continue;
    made.network->set_peer(ranks_[other].life->network->node().card());
    ranks_[other].life->network->set_peer(made.network->node().card());
  }
  if (options_.on_start) options_.on_start(made);
  trace.note(clock.now_ns(), "rank {0} starts, life {1}", number, made.incarnation);
  poke(number, clock.now_ns());
}

void Cluster::kill(uint32_t number) {
  Rank& rank = ranks_[number];
  if (rank.life == nullptr) return;
  trace.note(clock.now_ns(), "rank {0} dies, life {1}", number, rank.incarnation);
  rank.life->network.reset();
  rank.life.reset();
  rank.sockets.clear();
  rank.leaving.clear();
  rank.processor = {};
  rank.turn.at_ns = rank.drain.at_ns = kNever;
  tell_processes(number, clock.now_ns());
}

void Cluster::slow(uint32_t number, uint64_t factor, uint64_t until_ns) {
  ranks_[number].slow_factor = factor;
  ranks_[number].slow_until_ns = until_ns;
}

uint32_t Cluster::rank_of_endpoint(uint32_t endpoint) const {
  if (endpoint >= rank_of_endpoint_.size()) return options_.ranks;
  const uint32_t number = rank_of_endpoint_[endpoint];
  const Life* life = ranks_[number].life.get();
  return life != nullptr && life->endpoint == endpoint ? number : options_.ranks;
}

bool Cluster::is_connected() const {
  return std::all_of(ranks_.begin(), ranks_.end(), [&](const Rank& rank) {
    return rank.life != nullptr &&
           (options_.ranks == 1 || rank.life->network->node().peers_up() == options_.ranks - 1);
  });
}

uint32_t Cluster::owner_of(std::string_view key) const {
  return routing_.owners[routing_.partition_owner[partition_of(hash_key(key))]].rank;
}

std::string Cluster::check_invariants() const {
  for (uint32_t number = 0; number < options_.ranks; ++number) {
    const Rank& rank = ranks_[number];
    if (rank.life == nullptr) continue;
    if (!rank.life->daemon->engine().is_valid()) {
      return fmt::format("rank {}: a lane is not where its engine says", number);
    }
    if (rank.life->network != nullptr && !rank.life->network->node().is_valid()) {
      return fmt::format("rank {}: rings or credits do not add up", number);
    }
  }
  return {};
}

}  // namespace copykv::sim
