// SPDX-License-Identifier: Apache-2.0
// Turns of daemons and steps of processes: when they happen, and who hears of them.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "sim/cluster.hpp"

namespace copykv::sim {
namespace {

constexpr uint64_t kIdleLookNs = 100'000;  // of a daemon that waits for nothing
constexpr uint64_t kSleepsPerBeat = 8;     // as copykvd beside peers
constexpr uint64_t kWakeNs = 2'000;
constexpr uint32_t kIdleTurnsMax = 2;

}  // namespace

/// Not before what it does now is over.
void Cluster::poke(uint32_t number, uint64_t at_ns) {
  Rank& rank = ranks_[number];
  if (rank.life == nullptr || rank.sleeping) return;
  at_ns = std::max({at_ns, rank.busy_until_ns, rank.paused_until_ns});
  if (options_.observer != nullptr) {  // the next turn of a daemon that polls without pause
    const uint64_t turn_ns = idle_turn_ns(rank);
    const uint64_t turns = (at_ns - rank.busy_until_ns + turn_ns - 1) / turn_ns;
    at_ns = rank.busy_until_ns + turns * turn_ns;
  }
  set(rank.turn, at_ns, Kind::turn, number);
}

/// Of a turn that finds nothing.
uint64_t Cluster::idle_turn_ns(const Rank& rank) const {
  const Profile& costs = options_.profile;
  const uint64_t lanes = rank.life->daemon->engine().ground_lanes();
  return std::max<uint64_t>(costs.turn_ns + lanes * costs.lane_ns, 1);
}

/// What a turn costs by the profile.
Turn Cluster::charge(Rank& rank, uint32_t done, uint64_t posts) {
  const Profile& costs = options_.profile;
  Turn turn;
  if (rank.life->observed != nullptr) turn = rank.life->observed->take_work();
  turn.at_ns = clock.now_ns();
  turn.done = done;
  turn.locals = done - std::min(done, turn.answers + turn.inbound + turn.calls);
  turn.posts = static_cast<uint32_t>(posts);
  turn.lanes = rank.life->daemon->engine().ground_lanes();
  const uint64_t factor = turn.at_ns < rank.slow_until_ns ? rank.slow_factor : 1;
  const uint64_t poll_ns = costs.turn_ns / kPhaseCount;
  const auto cost_of = [&](uint64_t items, uint64_t more_ns) {
    return items * (costs.item_ns + more_ns);
  };
  turn.phase_ns = {poll_ns + cost_of(turn.answers, costs.answer_ns),
                   poll_ns + cost_of(turn.inbound, costs.inbound_ns),
                   costs.turn_ns - 3 * poll_ns + cost_of(turn.locals, costs.local_ns) +
                       cost_of(turn.calls, costs.call_ns) + turn.lanes * costs.lane_ns,
                   poll_ns + posts * costs.post_ns};
  uint64_t took_ns = 0;
  for (uint64_t& phase_ns : turn.phase_ns) took_ns += phase_ns *= factor;
  turn.over_ns = turn.at_ns + std::max<uint64_t>(took_ns, 1);
  return turn;
}

void Cluster::take_turn(uint32_t number) {
  Rank& rank = ranks_[number];
  if (rank.life == nullptr) return;
  const uint64_t now_ns = clock.now_ns();
  if (now_ns < rank.paused_until_ns)
    return set(rank.turn, rank.paused_until_ns, Kind::turn, number);
  if (rank.sleeping) return wake(number);
  const bool has_network = rank.life->network != nullptr;
  const uint64_t posts = network.counters().posts;
  if (has_network) network.hold_posts(rank.life->endpoint);
  InProcessDaemon& daemon = *rank.life->daemon;
  const uint32_t done = rank.processor.run([&] { return daemon.turn(); });
  Turn turn = charge(rank, done, network.counters().posts - posts);
  turn.rank = number;
  turn.idle_before = (now_ns - rank.busy_until_ns) / idle_turn_ns(rank);
  rank.busy_until_ns = turn.over_ns;
  tell_touched();
  if (has_network) network.release_posts(rank.life->endpoint, rank.busy_until_ns);
  ++rank.counters.turns;
  if (done > 0) {
    rank.worked_ns = now_ns;
    rank.idle_turns = 0;
  } else {
    ++rank.idle_turns;
  }
  if (options_.observer != nullptr) {
    options_.observer->on_turn(turn);
  } else if (done > 0 || !rank.processor.has_drained()) {
    set(rank.drain, rank.busy_until_ns + store_delay(), Kind::drain, number);
  }
  if (!rank.leaving.empty()) reap(rank);
  const bool waits = daemon.engine().has_work();
  if (sleep_after_ns_ > 0 && !waits && now_ns - rank.worked_ns >= sleep_after_ns_) {
    return go_to_sleep(number);
  }
  if (done > 0 || rank.idle_turns <= kIdleTurnsMax) {
    return poke(number, rank.busy_until_ns);
  }
  uint64_t look_ns = waits ? options_.look_ns : kIdleLookNs;
  if (sleep_after_ns_ > 0) look_ns = std::min(look_ns, sleep_after_ns_);
  poke(number, now_ns + look_ns);
}

void Cluster::go_to_sleep(uint32_t number) {
  Rank& rank = ranks_[number];
#if defined(COPYKV_CHECKED)
  static Cluster* fencing = nullptr;
  static uint32_t fencing_rank = 0;
  fencing = this;
  fencing_rank = number;
  // membarrier(2) reaches only processes that have registered for it.
  Checked::on_heavy_fence = nullptr;
  if (options_.fence_free) {
    Checked::on_heavy_fence = [] { fencing->drain_everyone(fencing_rank); };
  }
#endif
  Life& life = *rank.life;
  const bool sleeps = rank.processor.run([&] {
    if (!life.daemon->engine().begin_sleep()) return false;
    if (life.network == nullptr) return true;
    life.network->poll_next_turn();  // as copykvd does
    return life.network->node().fabric().arm();
  });
  if (!sleeps) {
    rank.processor.run([&] { rank.life->daemon->engine().end_sleep(); });
    rank.worked_ns = clock.now_ns();
    return poke(number, clock.now_ns() + options_.profile.turn_ns);
  }
  ++rank.counters.sleeps;
  rank.sleeping = true;
  set(rank.turn, clock.now_ns() + options_.node.beat_ns / kSleepsPerBeat, Kind::turn, number);
  look_for_wakes(number);
}

/// A full fence on every processor that shares memory with the rank.
void Cluster::drain_everyone(uint32_t number) {
  ranks_[number].processor.drain();
  for (ProcessSlot& slot : processes_) {
    if (slot.what != nullptr && slot.what->rank() == number) slot.what->processor.drain();
  }
}

void Cluster::wake(uint32_t number) {
  Rank& rank = ranks_[number];
  if (clock.now_ns() < rank.paused_until_ns) {
    return set(rank.turn, rank.paused_until_ns, Kind::turn, number);
  }
  rank.sleeping = false;
  uint64_t wakes = 0;
  (void)!::read(rank.life->daemon->wake_fd(), &wakes, sizeof(wakes));
  rank.processor.run([&] { rank.life->daemon->engine().end_sleep(); });
  rank.worked_ns = clock.now_ns();
  rank.turn.at_ns = kNever;
  set(rank.drain, clock.now_ns() + store_delay(), Kind::drain, number);
  poke(number, clock.now_ns() + kWakeNs);
}

/// Whether a client has woken the daemon that sleeps.
void Cluster::look_for_wakes(uint32_t number) {
  Rank& rank = ranks_[number];
  if (rank.life == nullptr || !rank.sleeping) return;
  uint64_t wakes = 0;
  if (::read(rank.life->daemon->wake_fd(), &wakes, sizeof(wakes)) != sizeof(wakes)) return;
  rank.turn.at_ns = kNever;
  set(rank.turn, clock.now_ns() + kWakeNs, Kind::turn, number);
}

uint64_t Cluster::store_delay() {
  return store_delay_ns_max_ > 0 ? random.below(store_delay_ns_max_) : 0;
}

void Cluster::drain(Processor& processor, Alarm& alarm, Kind kind, uint32_t index) {
  if (store_delay_ns_max_ == 0 || random.below(4) > 0) return processor.drain();
  processor.drain_some(random);
  if (processor.has_drained()) return;
  ++late_drains_;
  set(alarm, clock.now_ns() + 1 + store_delay(), kind, index);
}

void Cluster::drain_rank(uint32_t number) {
  Rank& rank = ranks_[number];
  if (rank.life == nullptr) return;
  drain(rank.processor, rank.drain, Kind::drain, number);
  tell_processes(number, clock.now_ns() + options_.profile.line_ns);
}

void Cluster::tell_processes(uint32_t number, uint64_t at_ns) {
  for (uint32_t index = 0; index < processes_.size(); ++index) {
    ProcessSlot& slot = processes_[index];
    if (slot.what != nullptr && slot.what->rank() == number) {
      set(slot.step, at_ns, Kind::step, index);
    }
  }
}

// ---- processes

uint32_t Cluster::add(std::unique_ptr<Process> process) {
  const auto number = static_cast<uint32_t>(processes_.size());
  processes_.push_back({std::move(process)});
  set(processes_[number].step, clock.now_ns(), Kind::step, number);
  return number;
}

void Cluster::remove(uint32_t number) {
  processes_[number] = {};
}

void Cluster::step(uint32_t number) {
  Process* process = processes_[number].what.get();
  if (process == nullptr) return;
  const uint64_t next_ns = process->step(clock.now_ns());
  if (processes_[number].what == nullptr) return;
  set(processes_[number].step, next_ns, Kind::step, number);
  const uint64_t delay_ns = store_delay();
  if (delay_ns == 0) return drain_process(number);
  look_for_wakes(process->rank());
  set(processes_[number].drain, clock.now_ns() + delay_ns, Kind::process_drain, number);
}

void Cluster::drain_process(uint32_t number) {
  ProcessSlot& slot = processes_[number];
  if (slot.what == nullptr) return;
  drain(slot.what->processor, slot.drain, Kind::process_drain, number);
  look_for_wakes(slot.what->rank());
  // One that is observed does its steps when they can be seen.
  const uint64_t line_ns = options_.observer == nullptr ? options_.profile.line_ns : 0;
  poke(slot.what->rank(), clock.now_ns() + line_ns);
}

std::unique_ptr<Attachment> Cluster::attach(Process& process, uint32_t queue_depth,
                                            uint64_t bulk_bytes) {
  Rank& rank = ranks_[process.rank()];
  if (rank.life == nullptr || (rank.free_lanes.empty() && rank.lanes_used == options_.lanes_max)) {
    return nullptr;
  }
  uint32_t lane = rank.lanes_used;
  if (rank.free_lanes.empty()) {
    ++rank.lanes_used;
  } else {
    lane = rank.free_lanes.back();
    rank.free_lanes.pop_back();
  }
  auto attachment = std::make_unique<Attachment>();
  attachment->life = rank.life;
  attachment->seat =
      rank.life->daemon->attach({lane, 1, queue_depth, kSlotPayloadBytesMin, bulk_bytes});
  const std::span<std::byte> memory = attachment->seat->memory();
  process.processor = {};
  process.processor.share(memory.data(), memory.size());
  rank.processor.share(memory.data(), memory.size());
  int ends[2] = {-1, -1};
  if (options_.mortal) {
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
      throw std::runtime_error("no more sockets");
    }
    rank.sockets.emplace_back(ends[0]);
  }
  attachment->client = std::make_unique<Client>(
      rank.life->daemon->client(*attachment->seat, Wait::spin, Fd(ends[1])));
  poke(process.rank(), clock.now_ns());
  return attachment;
}

void Cluster::detach(Process& process, std::unique_ptr<Attachment> attachment) {
  Rank& rank = ranks_[process.rank()];
  process.processor.drain();
  attachment->client.reset();
  if (!is_served(process, *attachment)) return;  // the daemon has gone before
  rank.life->daemon->detach(*attachment->seat);
  rank.leaving.push_back({attachment->life, std::move(attachment->seat)});
  poke(process.rank(), clock.now_ns());
}

/// Lanes that the engine has let go of.
void Cluster::reap(Rank& rank) {
  std::erase_if(rank.leaving, [&](const Leaving& leaving) {
    if (!leaving.seat->closed()) return false;
    const std::span<std::byte> memory = leaving.seat->memory();
    rank.processor.unshare(memory.data(), memory.size());
    rank.free_lanes.push_back(leaving.seat->geometry().client_number);
    return true;
  });
}

}  // namespace copykv::sim
