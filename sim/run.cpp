// SPDX-License-Identifier: Apache-2.0
#include "sim/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/hash.hpp"
#include "sim/check/calls.hpp"
#include "sim/check/linearizability.hpp"

namespace copykv::sim {
namespace {

constexpr uint64_t kStormNsMax = 150 * kNanosPerMilli;
constexpr uint64_t kHealNsMax = 2 * kNanosPerSecond;
constexpr uint64_t kCalmNsMax = kNanosPerSecond;
constexpr uint32_t kCalmOperations = 30;  // of each client
constexpr uint64_t kEventsPerCheck = 300;
constexpr size_t kStoryLines = 60;
constexpr uint64_t kStoryNs = 300'000;

constexpr uint32_t kFillersLeftOut = 4;

std::string filler(uint32_t number) {
  return fmt::format("filler-{}", number);
}

/// A key as the store wants it: in whole words.
struct StoreKey {
  StoreKey(Store& store, const std::string& name)
      : words(round_up_8(static_cast<uint32_t>(name.size())) / 8),
        item{words.data(), static_cast<uint32_t>(name.size()), hash_key(name)} {
    std::memcpy(words.data(), name.data(), name.size());
    store.locate(probe, item.hash);
    store.look(probe, item.hash);
  }
  std::vector<uint64_t> words;
  ItemKey item;
  Probe probe{};
};

/// Leaves little memory for what clients will store.
void fill(Life& life) {
  Store& store = life.daemon->store();
  const std::string value(kInlineValueBytes, 'f');
  uint32_t number = 0;
  for (bool full = false; !full;) {
    const std::string name = filler(number);
    const StoreKey key(store, name);
    PutRequest request;
    request.value = reinterpret_cast<const std::byte*>(value.data());
    request.value_bytes = static_cast<uint32_t>(value.size());
    const StoreAnswer answer = store.put(key.item, key.probe, request);
    if (answer.retry) life.daemon->populate();
    full = answer.status == Status::no_space && !answer.retry;
    number += answer.status == Status::ok ? 1 : 0;
  }
  for (uint32_t left_out = 1; left_out <= kFillersLeftOut && left_out < number; ++left_out) {
    const std::string name = filler(number - left_out);
    const StoreKey key(store, name);
    (void)store.del(key.item, key.probe);
  }
}

class Run {
 public:
  Run(const RunOptions& options, const Profile& profile)
      : options_(options),
        chooser_(options.seed ^ 0x5eed),
        faults_(choose_faults()),
        cluster_(cluster_options(profile)),
        load_(cluster_, options.keys),
        injector_(cluster_, load_, faults_, chooser_.next()) {}

  RunReport run() {
    connect();
    add_clients();
    if (ok()) storm();
    if (ok()) heal();
    if (ok()) calm();
    if (ok()) rest();
    return report();
  }

 private:
  FaultSet choose_faults() {
    if (!options_.subset) return options_.faults;
    // Few at a time, mostly: what hides behind another is not seen.
    const uint64_t one_in = 1 + chooser_.below(5);
    FaultSet chosen = 0;
    for (uint32_t kind = 0; kind < kFaultCount; ++kind) {
      if (chooser_.below(one_in + 1) == 0) chosen |= 1U << kind;
    }
    return chosen & options_.faults;
  }

  ClusterOptions cluster_options(const Profile& profile) {
    ClusterOptions to;
    to.seed = options_.seed;
    to.ranks = options_.ranks;
    to.profile = profile;
    if (has(faults_, Fault::reorder)) to.profile.network.jitter_ns = 5'000;
    to.profile.network.cut_timeout_ns = 4 * kNanosPerMilli;
    // Small rings and short time-outs: everything comes round often.
    to.node.ring_bytes = 1U << (14 + chooser_.below(4));
    to.node.batches_max = 4U << chooser_.below(4);
    to.node.beat_ns = 4 * kNanosPerMilli;
    to.node.peer_timeout_ns = 16 * kNanosPerMilli;
    to.node.call_timeout_ns = 50 * kNanosPerMilli;
    to.node.retry_ns = kNanosPerMilli;
    const copyrpc::FlushPolicy::Kind policies[] = {
        copyrpc::FlushPolicy::Kind::clocked, copyrpc::FlushPolicy::Kind::clocked,
        copyrpc::FlushPolicy::Kind::loop, copyrpc::FlushPolicy::Kind::call,
        copyrpc::FlushPolicy::Kind::hold};
    to.node.flush.kind = policies[chooser_.below(5)];
    to.fence_free = chooser_.below(2) == 0;
    to.memory_bytes = kStoreBudgetBytesMin;
    to.value_bytes_max = 1U << 20;
    if (has(faults_, Fault::memory_full)) to.on_start = fill;
    return to;
  }

  [[nodiscard]] bool ok() const { return violation_.empty(); }
  void fail(std::string what) {
    if (violation_.empty()) violation_ = std::move(what);
  }

  /// Until `done` holds or something is wrong.
  bool run_until(uint64_t limit_ns, const std::function<bool()>& done) {
    bool is_done = false;
    cluster_.run_until(cluster_.clock.now_ns() + limit_ns, [&] {
      if (++events_ % kEventsPerCheck == 0) {
        fail(cluster_.check_invariants());
        fail(check_peers());
      }
      fail(load_.violation);
      is_done = done();
      return is_done || !ok();
    });
    return is_done;
  }

  /// Ranks that keep the protocol find no fault with each other.
  std::string check_peers() {
    for (uint32_t rank = 0; rank < cluster_.ranks(); ++rank) {
      if (!cluster_.is_up(rank) || cluster_.life(rank).network == nullptr) continue;
      const copyrpc::NodeCounters& counters = cluster_.life(rank).network->node().counters();
      if (counters.violations == 0) continue;
      return fmt::format("rank {} has found {} messages of its peers that cannot be", rank,
                         counters.violations);
    }
    return {};
  }

  void connect() {
    if (!run_until(kHealNsMax, [&] { return cluster_.is_connected(); })) {
      fail("the ranks do not connect though nothing is broken");
    }
  }

  void add_clients() {
    load_.operations_left = options_.operations;
    load_.operations.reserve(options_.operations + options_.operations / 8);
    load_.think_ns_max = chooser_.below(3) == 0 ? 0 : 40'000;
    // More than a rank has room for at once: calls of others wait in their rings.
    const bool crowded = chooser_.below(4) == 0;
    const uint32_t depth_max = crowded ? 4 * options_.depth_max : options_.depth_max;
    if (crowded) load_.large_one_in = 2;
    for (uint32_t rank = 0; rank < options_.ranks; ++rank) {
      for (uint32_t client = 0; client < options_.clients; ++client) {
        const auto depth =
            1 + static_cast<uint32_t>(chooser_.below(std::min(depth_max, kQueueDepthMax)));
        clients_.push_back(
            cluster_.add(std::make_unique<LoadClient>(load_, rank, depth, chooser_.next())));
      }
    }
  }

  [[nodiscard]] LoadClient& client(uint32_t number) {
    return *static_cast<LoadClient*>(cluster_.process(number));
  }
  [[nodiscard]] bool all_clients(bool (LoadClient::*what)() const) {
    return std::all_of(clients_.begin(), clients_.end(),
                       [&](uint32_t number) { return (client(number).*what)(); });
  }

  void storm() {
    injector_.begin(clients_, kNanosPerMilli + chooser_.below(9 * kNanosPerMilli));
    (void)run_until(kStormNsMax, [&] { return load_.operations_left == 0; });
  }

  void heal() {
    injector_.end();
    const bool whole = run_until(kHealNsMax, [&] {
      return load_.operations_left == 0 && injector_.is_whole() && cluster_.is_connected() &&
             all_clients(&LoadClient::is_idle);
    });
    if (!whole && ok()) fail(why_not_whole());
  }

  std::string why_not_whole() {
    if (!cluster_.is_connected()) return "nothing is broken any more, but the ranks do not connect";
    for (const Operation& operation : load_.operations) {
      if (operation.ended() || operation.kind == Kind::wipe) continue;
      for (const uint32_t number : clients_) {
        if (client(number).process() == operation.process) {
          return fmt::format("a call of client {} for {}, since {} us, never ends",
                             operation.process, load_.keys[operation.key].name,
                             operation.begin_ns / 1'000);
        }
      }
    }
    return fmt::format("the load stands still: {} operations left", load_.operations_left);
  }

  void calm() {
    load_.calm_from_ns = cluster_.clock.now_ns();
    load_.phase = Load::Phase::calm;
    cluster_.trace.note(cluster_.clock.now_ns(), "nothing is broken any more", 0);
    // At the end one client is alone: nobody else wakes what it fails to wake.
    for (const uint32_t number : clients_) {
      client(number).set_calm_quota(number == clients_.front() ? 6 * kCalmOperations
                                                               : kCalmOperations);
      cluster_.nudge(number);
    }
    if (!run_until(kCalmNsMax, [&] { return all_clients(&LoadClient::is_content); }) && ok()) {
      fail(fmt::format("nothing is broken any more, but calls do not end within {} ms",
                       kCalmNsMax / kNanosPerMilli));
    }
  }

  /// Nothing is asked any more: what is left then is left for ever.
  void rest() {
    load_.phase = Load::Phase::over;
    (void)run_until(20 * kNanosPerMilli, [] { return false; });
    fail(cluster_.check_invariants());
    for (uint32_t rank = 0; rank < cluster_.ranks() && ok(); ++rank) check_rest(rank);
    if (ok()) empty_stores();
  }

  void check_rest(uint32_t rank) {
    Life& life = cluster_.life(rank);
    if (life.network != nullptr) {
      copyrpc::Node& node = life.network->node();
      if (node.calls_in_flight() > 0) {
        fail(fmt::format("rank {} keeps {} calls though every client has its answers", rank,
                         node.calls_in_flight()));
      }
      if (const std::string left = node.check_rest(); !left.empty()) {
        fail(fmt::format("rank {}: {}", rank, left));
      }
    }
    if (life.daemon->engine().has_work()) {
      fail(fmt::format("rank {} has work though nobody has asked", rank));
    }
    if (peek(life.daemon->block().lanes) != cluster_.lanes(rank)) {
      fail(fmt::format("rank {} serves {} lanes for {} clients", rank,
                       peek(life.daemon->block().lanes), cluster_.lanes(rank)));
    }
  }

  /// By the store itself: each item must be found, and its memory come back.
  void empty_stores() {
    for (uint32_t rank = 0; rank < cluster_.ranks() && ok(); ++rank) {
      Store& store = cluster_.life(rank).daemon->store();
      const std::string left = store_accounts(store, load_.garbage_words > 0);
      if (!left.empty()) fail(fmt::format("rank {}: {}", rank, left));
    }
  }

  std::string store_accounts(Store& store, bool has_strange_keys) {
    store.begin_turn((cluster_.clock.now_ns() + injector_.jumped_ns()) / kNanosPerMilli +
                     1'000'000);
    for (const Load::Key& known : load_.keys) {
      const StoreKey key(store, known.name);
      (void)store.del(key.item, key.probe);
    }
    for (uint32_t number = 0;; ++number) {
      const std::string name = filler(number);
      const StoreKey key(store, name);
      if (store.del(key.item, key.probe).status != Status::ok) break;
    }
    const StoreCounters counters = store.counters();
    if (has_strange_keys) return {};
    if (counters.items != 0) return fmt::format("{} items are left of none", counters.items);
    if (counters.arena_used_bytes != 0) {
      return fmt::format("{} B are used by no item", counters.arena_used_bytes);
    }
    return {};
  }

  RunReport report() {
    RunReport to;
    to.trace_hash = cluster_.trace.hash();
    to.operations = load_.operations.size();
    to.virtual_ns = cluster_.clock.now_ns();
    to.posts = cluster_.network.counters().posts;
    to.faults = faults_;
    to.fault_counts = injector_.counts();
    to.garbage_words = load_.garbage_words;
    std::copy(std::begin(load_.by_status), std::end(load_.by_status), to.by_status.begin());
    for (uint32_t rank = 0; rank < cluster_.ranks(); ++rank) {
      to.turns += cluster_.counters(rank).turns;
    }
    to.history = history();
    uint64_t around_ns = cluster_.clock.now_ns();
    std::string checked;
    if (ok()) check_history(to.history, checked);
    to.violation = violation_;
    if (!to.violation.empty()) {
      to.story = checked;
      if (checked.empty()) {
        to.story = cluster_.trace.tell(around_ns > kStoryNs ? around_ns - kStoryNs : 0, around_ns,
                                       kStoryLines);
      }
    }
    return to;
  }

  History history() {
    History made;
    made.reserve(load_.operations.size());
    for (Operation operation : load_.operations) {
      // Any clock may have jumped at any time.
      if (operation.expires()) {
        operation.expires_from_ns -= std::min(operation.expires_from_ns, injector_.jumped_ns());
        operation.expires_from_ns = std::max(operation.expires_from_ns, operation.begin_ns);
      }
      made.append(operation);
    }
    return made;
  }

  void check_history(const History& made, std::string& story) {
    fail(check_calls_end(made));
    History ordered;
    History unordered;
    for (const Operation& operation : made.operations()) {
      const bool any_order = operation.kind != Kind::death && load_.keys[operation.key].large;
      (any_order ? unordered : ordered).append(operation);
    }
    for (const bool in_order : {true, false}) {
      const Verdict verdict =
          check_linearizability(in_order ? ordered : unordered, {.client_order = in_order});
      if (verdict.ok()) continue;
      fail(verdict.outcome == Verdict::Outcome::undecided ? "undecided: too many open operations"
                                                          : "not linearisable");
      if (story.empty()) story = verdict.story;
    }
    fail(check_versions(made, [&](uint64_t key) { return load_.keys[key].owner; }));
  }

  const RunOptions options_;
  Random chooser_;
  const FaultSet faults_;
  Cluster cluster_;
  Load load_;
  FaultInjector injector_;
  std::vector<uint32_t> clients_{};
  std::string violation_{};
  uint64_t events_ = 0;
};

}  // namespace

Outcome<RunReport> run_simulation(const RunOptions& options) {
  auto profile = load_profile(options.profile);
  if (!profile) return Failure{profile.error};
  if (options.ranks == 0 || options.ranks > 64) return Failure{"--ranks is from 1 to 64"};
  if (options.clients == 0 || options.clients > 40) return Failure{"--clients is from 1 to 40"};
  Run run(options, *profile);
  return run.run();
}

std::string command_of(const RunOptions& options) {
  return fmt::format(
      "copykv-sim --seed {} --ranks {} --clients {} --operations {} --keys {} --depth {} --faults "
      "{}{} --profile {}",
      options.seed, options.ranks, options.clients, options.operations, options.keys,
      options.depth_max, to_string(options.faults), options.subset ? "" : " --every-fault",
      options.profile);
}

}  // namespace copykv::sim
