// SPDX-License-Identifier: Apache-2.0
// 256 ranks of one daemon each in one process, on the emulated device: what each takes, and what a
// dead one costs the others. Figures of time are simulated.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>

#include "base/sanitizers.hpp"
#include "copyrpc/node.hpp"
#include "tests/unit/copyrpc/dc_scene.hpp"

namespace copyrpc {
namespace {

using copykv::kNanosPerMilli;

constexpr uint32_t kRanks = 256;
constexpr uint64_t kReceiveBudgetBytes = 64U << 20;  // copykvd's --receive-memory by default
// Beside the rings, of one rank that may have 255 peers: queues of the device, which rc has more of
// with each connection, and all that it has touched after it has talked with some of them, the
// emulated device's own memory included.
constexpr uint64_t kQueueBytesMax = 4U << 20;
constexpr uint64_t kQueueBytesOfConnectionMax = 256U << 10;
constexpr uint64_t kTouchedBytesMax = 8U << 20;
constexpr uint64_t kStallNsMax = 10 * kNanosPerMilli;
const copykv::SystemClock kClock;

/// Connections of the side channel are two descriptors each, here.
void allow_descriptors() {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

uint64_t touched_bytes() {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    uint64_t kib = 0;
    if (word == "RssAnon:" && file >> kib) return kib * 1024;
  }
  return 0;
}

struct Rank {
  std::unique_ptr<Fabric> fabric;
  std::unique_ptr<Node> node;
  uint32_t served = 0;
  uint32_t answered = 0;

  void turn() {
    (void)node->poll();
    std::array<Answer, 16> answers;
    answered += node->take_answers(answers);
    std::array<InboundCall, 16> calls;
    const uint32_t count = node->take_calls(calls);
    for (uint32_t at = 0; at < count; ++at)
      node->reply(calls[at], {calls[at].payload, calls[at].payload_bytes});
    served += count;
    node->flush();
    node->tick(kClock.now_ns());
  }
};

/// Each rank talks with those 1, 2, 4 .. 128 before and behind it.
struct Job {
  std::vector<Rank> ranks{kRanks};
  std::vector<uint32_t> distances;
  uint64_t bytes_before = 0;

  explicit Job(bool is_dc) {
    emulated_mlx5::configure({});
    bytes_before = touched_bytes();
    for (uint32_t number = 0; number < kRanks; ++number) start(number, is_dc);
    for (uint32_t distance = 1; distance < kRanks; distance *= 2) {
      distances.push_back(distance);
      if (distance != kRanks - distance) distances.push_back(kRanks - distance);
    }
    for (uint32_t number = 0; number < kRanks; ++number)
      for (const uint32_t distance : distances)
        ranks[number].node->set_peer(ranks[(number + distance) % kRanks].node->card());
  }
  void start(uint32_t number, bool is_dc) {
    VerbsOptions options;
    options.address = "127.0.0.1";
    options.peers_max = kRanks;  // by node number, its own included
    auto fabric = is_dc ? make_dc_fabric(options) : make_rc_fabric(options);
    INFO(fabric.error);
    REQUIRE(fabric);
    NodeOptions with;
    with.node = number;
    with.nodes = kRanks;
    with.receive_budget_bytes = kReceiveBudgetBytes;
    with.peer_timeout_ns = 60 * copykv::kNanosPerSecond;  // a loaded machine is no failure
    auto node = Node::create(with, **fabric, kClock);
    INFO(node.error);
    REQUIRE(node);
    ranks[number].fabric = std::move(*fabric);
    ranks[number].node = std::move(*node);
  }
  ~Job() {
    for (Rank& rank : ranks) rank.node.reset();
  }
  template <class Holds>
  bool until(Holds holds) {
    const uint64_t end_ns = kClock.now_ns() + 60 * copykv::kNanosPerSecond;
    while (!std::all_of(ranks.begin(), ranks.end(), holds)) {
      if (kClock.now_ns() > end_ns) return false;
      for (Rank& rank : ranks) rank.turn();
    }
    return true;
  }
};

void expect_budget(const char* transport, bool is_dc) {
  allow_descriptors();
  Job job(is_dc);
  const auto peers = static_cast<uint32_t>(job.distances.size());
  REQUIRE(job.until([&](const Rank& rank) { return rank.node->peers_up() == peers; }));
  constexpr std::array<std::byte, 64> kPayload{};
  for (uint32_t number = 0; number < kRanks; ++number)
    for (const uint32_t distance : job.distances)
      REQUIRE(job.ranks[number].node->call((number + distance) % kRanks, kPayload, 64, {}) ==
              Node::Sent::accepted);
  REQUIRE(
      job.until([&](const Rank& rank) { return rank.answered == peers && rank.served == peers; }));
  const uint64_t rings = uint64_t{kRanks - 1} * job.ranks[0].node->ring_bytes();
  const uint64_t touched = (touched_bytes() - job.bytes_before) / kRanks;
  const uint64_t queues = emulated_mlx5::queue_bytes(emulated_mlx5::open_contexts().back());
  const uint64_t queues_max = kQueueBytesMax + (is_dc ? 0 : peers * kQueueBytesOfConnectionMax);
  const auto mib = [](uint64_t bytes) { return static_cast<double>(bytes) / (1U << 20); };
  std::printf(
      "%s, %u ranks, each connected to %u of 255 peers. Per rank: rings %.1f MiB (budget %.0f), as "
      "much to send from, both taken as they are used; queues of the device %.2f MiB (budget "
      "%.0f); touched in all %.2f MiB (budget %.0f)\n",
      transport, kRanks, peers, mib(rings), mib(kReceiveBudgetBytes), mib(queues), mib(queues_max),
      mib(touched), mib(kTouchedBytesMax));
  CHECK(rings <= kReceiveBudgetBytes);
  CHECK(queues <= queues_max);
  if (!COPYKV_ASAN && !COPYKV_TSAN) CHECK(touched <= kTouchedBytesMax);  // not of their shadow
}

TEST_CASE("256 ranks over dc stay within their budget of memory") {
  expect_budget("dc", true);
}

TEST_CASE("256 ranks over rc stay within their budget of memory") {
  expect_budget("rc", false);
}

TEST_CASE("one dead rank of 256 holds the others up for less than 10 ms") {
  constexpr PeerId kDead = 7;
  constexpr uint64_t kStepNs = 5'000;
  constexpr uint32_t kStepsPerPost = 10;
  allow_descriptors();
  DcScene scene(VerbsOptions{}.initiators, {}, kRanks);
  DcEndpoint& a = scene.add();
  scene.options.peers_max = 1;
  scene.options.initiators = 1;
  for (PeerId peer = 1; peer < kRanks; ++peer) scene.connect(a, peer, scene.add());
  emulated_mlx5::cut(scene.all[kDead]->context, true);
  const uint64_t start_ns = scene.clock.now_ns();
  for (uint32_t at = 0; scene.clock.now_ns() - start_ns < 3 * kStallNsMax; ++at) {
    if (at % kStepsPerPost == 0) {
      for (PeerId peer = 1; peer < kRanks; ++peer)
        (void)DcScene::post(a, peer, *scene.all[peer], 1, kUnsignalled);
      a.fabric->submit();
    }
    for (const auto& one : scene.all) scene.poll(*one);
    scene.clock.advance_ns(kStepNs);
  }
  uint64_t worst_ns = 0;
  for (PeerId peer = 1; peer < kRanks; ++peer) {
    if (peer == kDead) continue;
    uint64_t before_ns = start_ns;
    for (const uint64_t at_ns : scene.all[peer]->arrived_at_ns) {
      worst_ns = std::max(worst_ns, at_ns - before_ns);
      before_ns = at_ns;
    }
    worst_ns = std::max(worst_ns, scene.clock.now_ns() - before_ns);
  }
  std::printf("simulated: worst gap of a live rank %lu us, at most %lu us\n", worst_ns / 1'000,
              kStallNsMax / 1'000);
  CHECK(worst_ns < kStallNsMax);
  REQUIRE(a.lost.size() == 1);
  CHECK(a.lost[0].peer == kDead);
}

}  // namespace
}  // namespace copyrpc
