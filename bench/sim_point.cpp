// SPDX-License-Identifier: Apache-2.0
#include "bench/sim_point.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bench/interrupt.hpp"
#include "bench/key_map.hpp"
#include "bench/rank_session.hpp"
#include "bench/sim_client.hpp"
#include "sim/preload.hpp"

namespace copykv::bench {
namespace {

constexpr uint64_t kConnectNsMax = kNanosPerSecond;
constexpr uint64_t kSliceNs = kNanosPerMilli;  // between looks whether a run is over
constexpr uint64_t kLeadNs = 10'000;
constexpr uint64_t kRingBytes = 64U << 10;  // where many ranks stand in one process
constexpr uint32_t kRanksWithLargeRings = 4;
constexpr uint64_t kMemoryBytesMin = 64U << 20;

/// A cluster with its clients, ready for runs.
class Session {
 public:
  Session(const RunOptions& options, const sim::Profile& profile, copyrpc::FlushPolicy flush)
      : options_(options),
        stations_(options.ranks, options.client_threads, options.queue_depth,
                  std::max(profile.network.send_queues, 1U), clock_forward()),
        cluster_(cluster_options(profile, flush)) {}

  [[nodiscard]] Outcome<void> set_up();
  [[nodiscard]] RunResult run(uint64_t duration_ns);

 private:
  sim::ClusterOptions cluster_options(const sim::Profile& profile, copyrpc::FlushPolicy flush);
  [[nodiscard]] Outcome<void> choose_own_keys();
  [[nodiscard]] Outcome<void> preload();
  [[nodiscard]] Outcome<void> start_clients();
  [[nodiscard]] const Clock& clock_forward() { return clock_; }
  void after_turn(const sim::Turn& turn);
  [[nodiscard]] bool run_to_end(uint64_t until_ns);
  void add_counters(RunResult& result, const std::vector<uint64_t>& ring_full);
  [[nodiscard]] std::vector<uint64_t> ring_full();

  /// The cluster's, which is made after those who read it.
  struct ForwardClock final : Clock {
    [[nodiscard]] uint64_t now_ns() const noexcept override {
      return to != nullptr ? to->now_ns() : 0;
    }
    const Clock* to = nullptr;
  };

  RunOptions options_;
  ForwardClock clock_{};
  sim::StationRecorder stations_;
  sim::Cluster cluster_;
  std::vector<uint32_t> key_numbers_{};
  std::vector<std::vector<uint32_t>> clients_{};  ///< process numbers, by rank and lane
};

sim::ClusterOptions Session::cluster_options(const sim::Profile& profile,
                                             copyrpc::FlushPolicy flush) {
  sim::ClusterOptions to;
  to.seed = options_.seed;
  to.ranks = options_.ranks;
  to.profile = profile;
  to.node.flush = flush;
  to.node.peer_timeout_ns = options_.peer_timeout_ns;
  if (options_.ranks > kRanksWithLargeRings) to.node.ring_bytes = kRingBytes;
  to.memory_bytes = std::max(kMemoryBytesMin, options_.memory_bytes);
  if (options_.memory_bytes == 0) {
    const double item_bytes =
        options_.workload.sizes.mean_bytes() + options_.key_bytes + sizeof(uint64_t) * 8;
    const auto items_bytes =
        static_cast<uint64_t>(2 * item_bytes * static_cast<double>(options_.key_range));
    to.memory_bytes =
        std::max(kMemoryBytesMin, items_bytes + 16 * options_.workload.sizes.bytes_max());
  }
  to.value_bytes_max = std::max<uint32_t>(1U << 20, options_.workload.sizes.bytes_max());
  to.lanes_max = options_.client_threads;
  to.mortal = false;
  to.observer = &stations_;
  // A message that is held for a while leaves in the first turn after that.
  if (flush.kind == copyrpc::FlushPolicy::Kind::hold) {
    to.look_ns = std::max<uint64_t>(profile.turn_ns, 1);
  }
  return to;
}

Outcome<void> Session::set_up() {
  clock_.to = &cluster_.clock;
  stations_.after_turn = [this](const sim::Turn& turn) { after_turn(turn); };
  clients_.resize(options_.ranks);
  cluster_.run_until(cluster_.clock.now_ns() + kConnectNsMax,
                     [this] { return cluster_.is_connected(); });
  if (!cluster_.is_connected()) return Failure{"the simulated ranks do not connect"};
  for (const auto step : {&Session::choose_own_keys, &Session::preload, &Session::start_clients}) {
    if (auto done = (this->*step)(); !done) return done;
  }
  return {};
}

Outcome<void> Session::choose_own_keys() {
  options_.workload.ranks = options_.ranks;
  if (options_.ranks == 1) return {};
  const RankHeader& page = cluster_.life(0).daemon->rank();
  PartitionRanks owners{};
  for (uint32_t partition = 0; partition < kPartitionCount; ++partition) {
    owners[partition] = page.owners[page.partition_owner[partition]].rank;
  }
  auto chosen = choose_keys(owners, options_.ranks, options_.key_range, options_.key_bytes);
  if (!chosen) return Failure{chosen.error};
  key_numbers_ = std::move(*chosen);
  options_.workload.key_numbers = key_numbers_;
  return {};
}

Outcome<void> Session::preload() {
  const Workload& load = options_.workload;
  Random random(options_.seed ^ 0x9e1f11edULL);
  KeyText key_text(load.key_bytes);
  std::vector<char> value(load.sizes.bytes_max());
  for (uint64_t place = 0; place < load.keys(); ++place) {
    const uint32_t number = load.number_of(place);
    const std::span<char> part(value.data(), load.sizes.draw(random));
    fill_value(part, number, {0, place});
    const auto rank = static_cast<uint32_t>(place / load.key_range);
    const Status status =
        sim::put_directly(cluster_.life(rank), key_text(number), {part.data(), part.size()});
    if (status == Status::ok) continue;
    return Failure{
        fmt::format("rank {} does not take its keys: {}; raise --memory", rank, to_string(status))};
  }
  return {};
}

Outcome<void> Session::start_clients() {
  const uint64_t bulk_bytes = std::max<uint64_t>(
      kPageBytes, uint64_t{2} * options_.queue_depth * options_.workload.sizes.bytes_max());
  for (uint32_t rank = 0; rank < options_.ranks; ++rank) {
    Workload load = options_.workload;
    load.rank = rank;
    for (uint32_t client = 0; client < options_.client_threads; ++client) {
      auto made = std::make_unique<SimClient>(cluster_, stations_, rank, load,
                                              setup_of(options_, rank, client));
      SimClient& added = *made;
      clients_[rank].push_back(cluster_.add(std::move(made)));
      if (!added.attach(bulk_bytes)) return Failure{"a simulated rank has no lane left"};
      const DaemonBlock& block = cluster_.life(rank).daemon->block();
      cluster_.run_until(cluster_.clock.now_ns() + kNanosPerMilli,
                         [&] { return peek(block.lanes) > client; });
    }
  }
  return {};
}

/// Tells those clients who have got something.
void Session::after_turn(const sim::Turn& turn) {
  const std::vector<uint32_t>& clients = clients_[turn.rank];
  const auto client = [&](uint32_t number) -> SimClient& {
    return *static_cast<SimClient*>(cluster_.process(number));
  };
  std::vector<uint32_t>& answered = stations_.answered_lanes(turn.rank);
  for (const uint32_t lane : answered) client(clients[lane]).expect_answer();
  answered.clear();
  if (turn.done == 0) return;
  TurnWrites writes(turn);
  for (const uint32_t number : clients) {
    const uint64_t visible_ns = client(number).look(writes);
    if (visible_ns != sim::kNever) cluster_.tell(number, visible_ns);
  }
}

bool Session::run_to_end(uint64_t until_ns) {
  const auto all_over = [this] {
    for (const auto& of_rank : clients_) {
      for (const uint32_t number : of_rank) {
        if (!static_cast<SimClient*>(cluster_.process(number))->is_over()) return false;
      }
    }
    return true;
  };
  while (cluster_.clock.now_ns() < until_ns && !interrupted()) {
    cluster_.run_until(std::min(until_ns, cluster_.clock.now_ns() + kSliceNs));
    if (all_over()) return true;
  }
  return all_over();
}

std::vector<uint64_t> Session::ring_full() {
  std::vector<uint64_t> counts;
  for (uint32_t rank = 0; rank < options_.ranks && options_.ranks > 1; ++rank) {
    counts.push_back(cluster_.life(rank).network->node().counters().ring_full);
  }
  return counts;
}

RunResult Session::run(uint64_t duration_ns) {
  const std::vector<uint64_t> full_before = ring_full();
  std::vector<Measurement> measured(options_.ranks);
  stations_.begin();
  const uint64_t first_ns = cluster_.clock.now_ns() + kLeadNs;
  uint64_t until_ns = 0;
  for (uint32_t rank = 0; rank < options_.ranks; ++rank) {
    const uint64_t start_ns = first_ns + rank * options_.start_skew_ns;
    const uint64_t end_ns = start_ns + duration_ns;
    const bool open = options_.arrival != Arrival::closed;
    until_ns = end_ns + duration_ns + kNanosPerSecond;
    for (const uint32_t number : clients_[rank]) {
      auto& client = *static_cast<SimClient*>(cluster_.process(number));
      client.begin({start_ns, end_ns, open ? end_ns + duration_ns : end_ns, until_ns},
                   measured[rank]);
      cluster_.nudge(number);
    }
  }
  RunResult result;
  result.may_go_on = run_to_end(until_ns);
  if (!result.may_go_on && !interrupted()) {
    result.failures.push_back("operations never came back");
  }
  for (uint32_t rank = 0; rank < options_.ranks; ++rank) {
    Measurement& of_rank = measured[rank];
    of_rank.interrupted = interrupted();
    result.ranks.push_back({rank, of_rank.operations, of_rank.ops_per_second()});
    result.measured += of_rank;
  }
  result.measured.count_from_start();
  add_counters(result, full_before);
  return result;
}

void Session::add_counters(RunResult& result, const std::vector<uint64_t>& full_before) {
  const sim::StationReport& report = stations_.report();
  const std::vector<uint64_t> full = ring_full();
  for (uint32_t rank = 0; rank < options_.ranks; ++rank) {
    const sim::DaemonWork& work = report.daemons[rank];
    DaemonSample sample;
    sample.rank = rank;
    sample.turns = sample.sampled_turns = work.turns;
    sample.busy_turns = work.busy_turns;
    sample.requests = work.locals + work.calls;
    sample.remote_calls = work.calls;
    sample.remote_answers = work.answers;
    sample.inbound_requests = work.inbound;
    sample.messages_sent = work.messages;
    sample.batches_sent = work.batches;
    sample.ground_queue_sum = work.lanes_sum;
    if (!full.empty()) sample.ring_full = full[rank] - full_before[rank];
    sample.rtt = work.rtt;
    sample.phases = work.phases;
    result.daemons.push_back(std::move(sample));
  }
  if (report.unmatched > 0) {
    result.failures.push_back(
        fmt::format("the stamps of {} requests do not fit together: a mistake of the simulation",
                    report.unmatched));
  }
  result.stations = std::make_shared<const sim::StationReport>(report);
}

}  // namespace

Outcome<sim::Profile> profile_of(const RunOptions& options) {
  auto profile = sim::load_profile(options.sim_profile);
  if (!profile) return Failure{fmt::format("--sim-profile: {}", profile.error)};
  if (options.sim_send_queues > 0) profile->network.send_queues = options.sim_send_queues;
  return profile;
}

Outcome<Report> simulate_point(const RunOptions& options, const sim::Profile& profile) {
  const auto flush = copyrpc::FlushPolicy::parse(options.flush);
  if (!flush) return Failure{flush.error};
  Report report;
  report.options = options;
  report.host = describe_host();
  report.host.transport = "sim";
  report.host.simulated = true;
  report.host.clock = "virtual";
  report.profile = profile;
  report.line_rtt_before.p50_ns = report.line_rtt_after.p50_ns = 2 * profile.line_ns;
  report.line_rtt_before.note = "simulated: twice line_ns of the profile";
  Session session(options, profile, *flush);
  if (auto ready = session.set_up(); !ready) return Failure{ready.error};
  bool may_go_on = true;
  if (options.warmup_ns > 0) {
    RunResult warmup = session.run(options.warmup_ns);
    may_go_on = warmup.may_go_on && warmup.measured.wrong_values == 0;
    if (!may_go_on) report.runs.push_back(std::move(warmup));
  }
  for (uint32_t number = 0; number < options.runs && may_go_on && !interrupted(); ++number) {
    RunResult result = session.run(options.duration_ns);
    judge_run(options, result);
    may_go_on = result.may_go_on;
    report.runs.push_back(std::move(result));
  }
  report.interrupted = interrupted();
  report.slos = judge(options.slos, report.measurements());
  return report;
}

}  // namespace copykv::bench
