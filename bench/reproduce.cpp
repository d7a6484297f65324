// SPDX-License-Identifier: Apache-2.0
#include "bench/reproduce.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bench/reference.hpp"

namespace copykv::bench {
namespace {

constexpr uint32_t kClients[] = {1, 2, 4, 8, 12, 16};
constexpr uint32_t kNodes[] = {2, 4, 8, 16, 32};
constexpr double kShortRunNs = 10e6;
constexpr double kNodesRunNs = 0.6e6;  // a few hundred thousand operations at 32 nodes

class List {
 public:
  explicit List(const ReproduceOptions& options) : options_(options) {}

  void add(std::string group, std::string label, RunOptions run, std::string reference = {}) {
    const auto& only = options_.groups;
    if (!only.empty() && std::find(only.begin(), only.end(), group) == only.end()) return;
    made_.push_back({std::move(group), std::move(label), std::move(reference), std::move(run)});
  }
  [[nodiscard]] RunOptions simulated(uint32_t ranks, uint32_t clients, std::string flush,
                                     const std::string& profile, double duration_ns) const {
    RunOptions run;
    run.transport = "sim";
    run.ranks = ranks;
    run.client_threads = clients;
    run.flush = std::move(flush);
    run.sim_profile = profile;
    run.duration_ns = static_cast<uint64_t>(options_.scale * duration_ns);
    run.warmup_ns = run.duration_ns / 10;
    run.quiet = true;
    return run;
  }
  [[nodiscard]] std::vector<Experiment> take() { return std::move(made_); }

  void published_conditions();
  void one_rank();
  void optimisations();
  void nodes();
  void real();

 private:
  const ReproduceOptions& options_;
  std::vector<Experiment> made_{};
};

/// As the published runs: one flush per turn, and ranks that do not begin at the same moment.
void List::published_conditions() {
  for (const uint32_t clients : kClients) {
    RunOptions run = simulated(2, clients, "loop", options_.profile, kShortRunNs);
    run.start_skew_ns = run.duration_ns * options_.skew_permille / 1000;
    run.histograms = true;
    add("rtt", fmt::format("{} clients", clients), run, fmt::format("rows/{}", clients));
  }
  for (const uint32_t clients : kClients) {
    RunOptions run = simulated(2, clients, "loop", options_.profile, kShortRunNs);
    run.histograms = true;
    add("together", fmt::format("{} clients", clients), run);
  }
}

void List::one_rank() {
  for (const uint32_t clients : kClients) {
    RunOptions run = simulated(1, clients, "loop", options_.profile, kShortRunNs / 4);
    add("one-rank", fmt::format("{} clients", clients), run, clients == 16 ? "one_rank" : "");
  }
}

/// Each alone against the published conditions, and together.
void List::optimisations() {
  const std::string& theirs = options_.profile;
  for (const uint32_t clients : {1U, 16U}) {
    const auto at = [&](std::string label, const std::string& flush, const std::string& profile,
                        uint32_t depth = 1) {
      RunOptions run = simulated(2, clients, flush, profile, kShortRunNs / depth);
      run.queue_depth = depth;
      add("optimisations", fmt::format("{} clients, {}", clients, label), run);
    };
    at("once per turn (loop)", "loop", theirs);
    at("at each call (call)", "call", theirs);
    for (const uint32_t us : {1U, 2U, 4U}) {
      at(fmt::format("hold:{}", us), fmt::format("hold:{}", us), theirs);
    }
    for (const uint32_t batches : {1U, 2U, 3U, 4U, 6U, 8U, 12U}) {
      const std::string flush = fmt::format("clocked:{}", batches);
      at(flush, flush, theirs);
    }
    for (const uint32_t depth : {2U, 4U, 8U}) {
      at(fmt::format("loop, depth {}", depth), "loop", theirs, depth);
      at(fmt::format("clocked, depth {}", depth), "clocked", theirs, depth);
    }
    at("loop, cost of copykv's code", "loop", options_.own_profile);
    at("together: clocked, cost of copykv's code", "clocked", options_.own_profile);
    at("together, depth 4", "clocked", options_.own_profile, 4);
  }
}

void List::nodes() {
  const auto sweep = [&](const char* flush, uint32_t queues) {
    for (const uint32_t ranks : kNodes) {
      RunOptions run = simulated(ranks, kReferenceNodeClients, flush, options_.own_profile,
                                 kNodesRunNs * (ranks <= 8 ? 4 : 1));
      run.sim_send_queues = queues;
      add("nodes", fmt::format("{} ranks, {}, {} send queues", ranks, flush, queues), run,
          fmt::format("nodes_of_46_clients/{}", ranks));
    }
  };
  for (const uint32_t queues : {1U, 2U, 4U, 8U}) sweep("clocked", queues);
  for (const char* flush : {"loop", "hold:2", "clocked:2"}) {
    for (const uint32_t queues : {1U, 8U}) sweep(flush, queues);
  }
}

/// What this machine gives: the same load over a real transport.
void List::real() {
  if (options_.transport == "sim") return;
  for (const char* flush : {"loop", "clocked"}) {
    for (const uint32_t clients : kClients) {
      RunOptions run;
      run.transport = options_.transport;
      run.ranks = 2;
      run.client_threads = clients;
      run.flush = flush;
      run.duration_ns = static_cast<uint64_t>(options_.real_seconds * 1e9);
      run.warmup_ns = run.duration_ns / 4;
      run.histograms = true;
      run.quiet = true;
      add("real", fmt::format("{}, {} clients, {}", options_.transport, clients, flush), run);
    }
  }
}

}  // namespace

const std::vector<std::pair<std::string, std::string>>& reproduce_groups() {
  static const std::vector<std::pair<std::string, std::string>> groups = {
      {"rtt", "round trips against clients, under the published conditions"},
      {"together", "the same, all ranks beginning at the same moment"},
      {"one-rank", "one rank, no network"},
      {"optimisations", "what each optimisation is worth, alone and together"},
      {"nodes", "2 to 32 ranks of 46 clients"},
      {"real", "the same load over a real transport of this machine"}};
  return groups;
}

std::vector<Experiment> experiments_of(const ReproduceOptions& options) {
  List list(options);
  list.published_conditions();
  list.one_rank();
  list.optimisations();
  list.nodes();
  list.real();
  return list.take();
}

}  // namespace copykv::bench
