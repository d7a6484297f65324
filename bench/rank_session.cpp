// SPDX-License-Identifier: Apache-2.0
#include "bench/rank_session.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "bench/interrupt.hpp"
#include "bench/progress.hpp"

namespace copykv::bench {
namespace {

constexpr uint64_t kMemoryBytesMin = uint64_t{1} << 30;
constexpr uint64_t kItemOverheadBytes = 64;
// Clients of other ranks may end later, and their last requests have to be written down here.
constexpr useconds_t kLastStationsUs = 20'000;

// Twice what the items need: their lengths change, and freed places are not always the right size.
uint64_t daemon_memory(const RunOptions& options) {
  if (options.memory_bytes > 0) return options.memory_bytes;
  const double item_bytes = static_cast<double>(options.key_bytes + kItemOverheadBytes) +
                            options.workload.sizes.mean_bytes();
  const auto items_bytes =
      static_cast<uint64_t>(2 * item_bytes * static_cast<double>(options.key_range));
  return std::max(kMemoryBytesMin, items_bytes + 16 * options.workload.sizes.bytes_max());
}

Options attach_options(const RunOptions& options) {
  Options attach;
  attach.runtime_dir = options.runtime_dir;
  attach.job = options.job;
  attach.rank = options.rank;
  attach.queue_depth = options.queue_depth;
  attach.wait = options.wait;
  // Room for every slot's value both ways.
  const uint64_t values_bytes =
      uint64_t{2} * options.queue_depth * options.workload.sizes.bytes_max();
  attach.bulk_bytes_max = std::max(attach.bulk_bytes_max, values_bytes);
  return attach;
}

std::string wait_name(Wait wait) {
  switch (wait) {
    case Wait::spin:
      return "spin";
    case Wait::park:
      return "park";
    case Wait::adaptive:
      break;
  }
  return "adaptive";
}

std::vector<DaemonSample> changes(const std::vector<DaemonSample>& later,
                                  const std::vector<DaemonSample>& earlier) {
  std::vector<DaemonSample> made;
  for (size_t i = 0; i < later.size() && i < earlier.size(); ++i) {
    made.push_back(difference(later[i], earlier[i]));
  }
  return made;
}

std::unique_ptr<Progress> make_progress(const RunOptions& options, std::string phase) {
  if (options.quiet || options.follows()) return std::make_unique<Progress>();
  if (options.ranks > 1) phase += " (rank 0)";
  return std::make_unique<Progress>(std::move(phase));
}

}  // namespace

Outcome<std::unique_ptr<RankSession>> RankSession::start(const RunOptions& options,
                                                         Trouble trouble) {
  std::unique_ptr<RankSession> session(new RankSession(options, std::move(trouble)));
  session->attach_ = attach_options(options);
  using Step = Outcome<void> (RankSession::*)();
  for (const Step step : {&RankSession::start_daemon, &RankSession::choose_own_keys,
                          &RankSession::start_clients, &RankSession::join_team}) {
    const Outcome<void> done = (session.get()->*step)();
    if (!done) return Failure{done.error};
  }
  return session;
}

Outcome<void> RankSession::start_daemon() {
  if (options_.backend == "null") return {};
  if (!options_.attach) {
    RankSpec spec;
    spec.runtime_dir = options_.runtime_dir;
    spec.job = fmt::format("bench-{}", options_.point);
    spec.rank = options_.rank;
    spec.ranks = options_.ranks;
    spec.rendezvous = options_.ranks > 1 ? options_.rendezvous : "none";
    spec.transport = options_.transport;
    spec.flush = options_.flush;
    spec.peer_timeout_ns = options_.peer_timeout_ns;
    spec.daemon_threads = options_.daemon_threads;
    spec.memory_bytes = daemon_memory(options_);
    spec.wait = wait_name(options_.wait);
    spec.stations = options_.stations > 0;
    Outcome<LocalRank> started = LocalRank::start(
        spec, [this] { return interrupted() ? std::string("interrupted") : trouble(); });
    if (!started) return Failure{started.error};
    daemon_.emplace(std::move(*started));
    attach_.runtime_dir = daemon_->runtime_dir();
    attach_.job = spec.job;
  }
  // Says why there is no daemon better than its missing counters do.
  if (AttachResult tried = Client::attach(attach_); !tried.client) return Failure{tried.error};
  Outcome<RankCounters> opened = RankCounters::open(attach_);
  if (!opened) return Failure{opened.error};
  counters_.emplace(std::move(*opened));
  return {};
}

Outcome<void> RankSession::choose_own_keys() {
  const uint32_t ranks = counters_ ? counters_->rank_count() : 1;
  if (ranks == 1) {
    if (options_.workload.local_ratio < 0 || options_.workload.local_ratio == 1) return {};
    return Failure{fmt::format("--local-ratio {}: the job has one rank, so that every key is local",
                               options_.local_ratio)};
  }
  if (ranks * options_.key_range > kKeysOfRanksMax) {
    return Failure{fmt::format("--key-range {}: {} ranks can have {} keys each at most",
                               options_.key_range, ranks, kKeysOfRanksMax / ranks)};
  }
  owners_ = counters_->partition_ranks();
  auto chosen = choose_keys(owners_, ranks, options_.key_range, options_.key_bytes);
  if (!chosen) return Failure{chosen.error};
  key_numbers_ = std::move(*chosen);
  options_.workload.ranks = ranks;
  options_.workload.rank = options_.rank;
  options_.workload.key_numbers = key_numbers_;
  return {};
}

Outcome<void> RankSession::start_clients() {
  Outcome<std::unique_ptr<Crew>> crew = Crew::start({options_, clock_, attach_});
  if (!crew) return Failure{crew.error};
  crew_ = std::move(*crew);
  return {};
}

Outcome<void> RankSession::join_team() {
  if (options_.ranks > 1) {
    Options notes = attach_;
    notes.queue_depth = 2;
    Outcome<std::unique_ptr<ClientBoard>> board = ClientBoard::attach(notes);
    if (!board) return Failure{board.error};
    board_ = std::move(*board);
  }
  TeamPlace place{options_.rank, options_.ranks, fmt::format("benchkv/{}", attach_.job), {}};
  place.stands_on_rank_0 = [this](std::string_view key) {
    return owners_[partition_of(hash_key(key))] == 0;
  };
  team_.emplace(board_.get(), std::move(place));
  return {};
}

std::string RankSession::trouble() const {
  if (std::string line = trouble_(); !line.empty()) return line;
  if (peers_expected_ > 0 && counters_->peers_up() < peers_expected_) {
    return "the copykvd of another rank cannot be reached any more";
  }
  return {};
}

Outcome<void> RankSession::load() {
  return crew_->preload(*make_progress(options_, "loading"), [this] { return trouble(); });
}

void RankSession::expect_all_ranks() noexcept {
  if (counters_) peers_expected_ = counters_->peers_up();
}

RunResult RankSession::run(uint64_t start_ns, uint64_t duration_ns, const std::string& phase) {
  const auto progress = make_progress(options_, phase);
  const auto before = counters_ ? counters_->read() : std::vector<DaemonSample>();
  const auto stations_before = counters_ ? counters_->stations_written() : std::vector<uint64_t>();
  Crew::Run run = crew_->run(start_ns, duration_ns, *progress, [this] { return trouble(); });
  RunResult result;
  if (counters_) result.daemons = changes(counters_->read(), before);
  result.measured = std::move(run.measured);
  if (options_.stations > 0) take_stations(stations_before, result);
  result.measured.count_from_start();
  if (!result.measured.client_operations.empty()) {
    result.ranks.push_back(
        {options_.rank, result.measured.operations, result.measured.ops_per_second()});
  }
  for (const std::string& line : run.failures) {
    result.failures.push_back(options_.ranks > 1 ? fmt::format("rank {}: {}", options_.rank, line)
                                                 : line);
  }
  result.may_go_on = run.may_go_on;
  return result;
}

/// Joins what the daemon wrote down since with what the clients kept.
void RankSession::take_stations(std::span<const uint64_t> since, RunResult& result) {
  ::usleep(kLastStationsUs);
  Measurement& measured = result.measured;
  result.samples = join_clients(options_.rank, counters_->read_stations(since), measured.sampled,
                                std::exchange(measured.samples, {}));
}

Outcome<void> RankSession::stop() {
  crew_.reset();
  board_.reset();
  if (!daemon_) return {};
  return daemon_->stop();
}

}  // namespace copykv::bench
