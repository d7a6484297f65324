// SPDX-License-Identifier: Apache-2.0
#include "sim/faults.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace copykv::sim {
namespace {

constexpr uint64_t kMicro = kNanosPerMicro;
constexpr uint64_t kMilli = kNanosPerMilli;
constexpr size_t kHostileMax = 3;

constexpr copyrpc::SimFaults network_faults(FaultSet faults) {
  copyrpc::SimFaults to;
  if (has(faults, Fault::delay)) {
    to.delay_chance = 0.05;
    to.delay_ns_max = 50 * kMicro;
  }
  if (has(faults, Fault::partial_write)) to.partial_chance = 0.3;
  if (has(faults, Fault::late_completion)) {
    to.late_done_chance = 0.1;
    to.late_done_ns_max = 3 * kMilli;
  }
  if (has(faults, Fault::duplicate_completion)) to.duplicate_chance = 0.002;
  return to;
}

}  // namespace

const std::array<FaultInfo, kFaultCount>& fault_infos() {
  static constexpr std::array<FaultInfo, kFaultCount> kInfos{{
#define COPYKV_FAULT_INFO(name, what) {#name, what},
      COPYKV_FAULTS(COPYKV_FAULT_INFO)
#undef COPYKV_FAULT_INFO
  }};
  return kInfos;
}

Outcome<FaultSet> parse_faults(std::string_view text) {
  if (text == "all") return kAllFaults;
  if (text == "none") return FaultSet{0};
  FaultSet faults = 0;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view name = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const auto& infos = fault_infos();
    const auto found = std::find_if(infos.begin(), infos.end(),
                                    [&](const FaultInfo& info) { return info.name == name; });
    if (found == infos.end()) {
      std::string known;
      for (const FaultInfo& info : infos) known += fmt::format(", {}", info.name);
      return Failure{fmt::format("'{}' is no kind of fault; there are: all, none{}", name, known)};
    }
    faults |= 1U << (found - infos.begin());
  }
  return faults;
}

std::string to_string(FaultSet faults) {
  if (faults == 0) return "none";
  if (faults == kAllFaults) return "all";
  std::string text;
  for (uint32_t kind = 0; kind < kFaultCount; ++kind) {
    if ((faults & 1U << kind) == 0) continue;
    text += fmt::format("{}{}", text.empty() ? "" : ",", fault_infos()[kind].name);
  }
  return text;
}

FaultInjector::FaultInjector(Cluster& cluster, Load& load, FaultSet faults, uint64_t seed)
    : cluster_(cluster), load_(load), faults_(faults), random_(seed), died_ns_(cluster.ranks()) {}

void FaultInjector::begin(std::vector<uint32_t> clients, uint64_t interval_ns) {
  active_ = true;
  clients_ = std::move(clients);
  interval_ns_ = interval_ns;
  cluster_.network.set_faults(network_faults(faults_));
  if (has(faults_, Fault::store_order)) cluster_.set_store_delay(3 * kMicro);
  if (has(faults_, Fault::sleep)) cluster_.set_sleep_after(3 * kMicro);
  for (uint32_t kind = 0; kind < kFaultCount; ++kind) {
    if (has(faults_, static_cast<Fault>(kind))) schedule(static_cast<Fault>(kind));
  }
}

void FaultInjector::schedule(Fault fault) {
  const uint64_t in_ns = interval_ns_ / 4 + random_.below(interval_ns_ * 3 / 2);
  cluster_.at(cluster_.clock.now_ns() + in_ns, [this, fault] {
    if (!active_) return;
    strike(fault);
    schedule(fault);
  });
}

void FaultInjector::strike(Fault fault) {
  const uint64_t now_ns = cluster_.clock.now_ns();
  const uint32_t rank = some_rank();
  const auto tell = [&](const char* what, uint64_t number = 0) {
    note(fault);
    cluster_.trace.note(now_ns, what, rank, number);
  };
  switch (fault) {
    case Fault::not_ready:
      if (!cluster_.is_up(rank)) return;
      tell("rank {0} has no receive entries for a while");
      return cluster_.network.make_not_ready(cluster_.endpoint_of(rank),
                                             lasts(10 * kMicro + random_.below(190 * kMicro)));
    case Fault::queue_error:
      if (!cluster_.is_up(rank)) return;
      tell("rank {0}: its next post breaks the queue");
      return cluster_.network.break_next_post(cluster_.endpoint_of(rank));
    case Fault::overrun:
      if (!cluster_.is_up(rank)) return;
      tell("rank {0}: its completion queue overruns");
      return cluster_.network.overrun(cluster_.endpoint_of(rank));
    case Fault::cut:
      return cut_link();
    case Fault::slow_rank: {
      const uint64_t factor = 2 + random_.below(50);
      tell("rank {0} is slower by a factor of {1}", factor);
      return cluster_.slow(rank, factor, lasts(random_.below(3 * kMilli)));
    }
    case Fault::paused_rank:
      tell("rank {0} stands still");
      return cluster_.pause(rank, lasts(50 * kMicro + random_.below(12 * kMilli)));
    case Fault::rank_death:
      return kill_rank();
    case Fault::client_death: {
      auto* client =
          static_cast<LoadClient*>(cluster_.process(clients_[random_.below(clients_.size())]));
      note(fault);
      return client->doom(1 + static_cast<uint32_t>(random_.below(20)));
    }
    case Fault::client_garbage: {
      std::erase_if(hostile_, [this](uint32_t number) {
        const auto* process = static_cast<HostileClient*>(cluster_.process(number));
        if (!process->is_over()) return false;
        cluster_.remove(number);
        return true;
      });
      if (hostile_.size() >= kHostileMax) return;
      note(fault);
      const uint64_t until_ns = lasts(100 * kMicro + random_.below(2 * kMilli));
      const uint64_t seed = random_.next();
      hostile_.push_back(
          cluster_.add(std::make_unique<HostileClient>(load_, rank, until_ns, seed)));
      return;
    }
    case Fault::clock_jump: {
      const uint64_t by_ns = 1 + random_.below(random_.below(2) == 0 ? 5 * kMilli : 3'000 * kMilli);
      tell("rank {0}: its clock jumps by {1} ns", by_ns);
      jumped_ns_ += by_ns;
      return cluster_.jump_clock(rank, by_ns);
    }
    case Fault::delay:
    case Fault::reorder:
    case Fault::memory_full:
    case Fault::late_completion:
    case Fault::duplicate_completion:
    case Fault::partial_write:
    case Fault::store_order:
    case Fault::sleep:
      return;  // at any time
  }
}

void FaultInjector::kill_rank() {
  const uint32_t rank = some_rank();
  if (!cluster_.is_up(rank)) return;
  note(Fault::rank_death);
  const uint64_t now_ns = cluster_.clock.now_ns();
  died_ns_[rank] = now_ns;
  cluster_.kill(rank);
  cluster_.at(lasts(200 * kMicro + random_.below(10 * kMilli)), [this, rank] {
    const uint64_t started_ns = cluster_.clock.now_ns();
    for (uint64_t key = 0; key < load_.keys.size(); ++key) {
      if (load_.keys[key].owner != rank) continue;
      load_.operations.push_back(wipe_of(key, died_ns_[rank], started_ns));
    }
    cluster_.start(rank);
  });
}

void FaultInjector::cut_link() {
  const uint32_t a = some_rank();
  const uint32_t b = some_rank();
  if (a == b || !cluster_.is_up(a) || !cluster_.is_up(b)) return;
  note(Fault::cut);
  const uint64_t now_ns = cluster_.clock.now_ns();
  cluster_.trace.note(now_ns, "the link between ranks {0} and {1} is cut", a, b);
  const uint32_t from = cluster_.endpoint_of(a);
  const uint32_t to = cluster_.endpoint_of(b);
  cluster_.network.cut(from, to);
  cluster_.at(lasts(50 * kMicro + random_.below(12 * kMilli)), [this, a, b, from, to] {
    cluster_.trace.note(cluster_.clock.now_ns(), "the link between ranks {0} and {1} is whole", a,
                        b);
    cluster_.network.heal(from, to);
  });
}

void FaultInjector::end() {
  active_ = false;
  cluster_.network.set_faults({});
  lasts(10 * kMilli);  // what is late already
}

bool FaultInjector::is_whole() const {
  return cluster_.clock.now_ns() >= whole_ns_;
}

uint64_t FaultInjector::count(Fault fault) const {
  const copyrpc::SimNetwork::Counters& network = cluster_.network.counters();
  switch (fault) {
    case Fault::delay:
      return network.delayed;
    case Fault::reorder:
      return network.reordered;
    case Fault::client_death:
      return load_.client_deaths;
    case Fault::memory_full:
      return load_.by_status[static_cast<size_t>(Status::no_space)];
    case Fault::late_completion:
      return network.late_done;
    case Fault::duplicate_completion:
      return network.duplicated;
    case Fault::partial_write:
      return network.partial;
    case Fault::store_order:
      return cluster_.late_drains();
    case Fault::sleep: {
      uint64_t sleeps = 0;
      for (uint32_t rank = 0; rank < cluster_.ranks(); ++rank) {
        sleeps += cluster_.counters(rank).sleeps;
      }
      return sleeps;
    }
    default:
      return counts_[static_cast<uint32_t>(fault)];
  }
}

std::array<uint64_t, kFaultCount> FaultInjector::counts() const {
  std::array<uint64_t, kFaultCount> all{};
  for (uint32_t kind = 0; kind < kFaultCount; ++kind) all[kind] = count(static_cast<Fault>(kind));
  return all;
}

}  // namespace copykv::sim
