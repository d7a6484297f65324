// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/daemon/ranks_scene.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace copykv::test {
namespace {

constexpr uint64_t kTag = 1;
constexpr uint32_t kBulkBytes = 40U << 20;

}  // namespace

RanksScene::RanksScene(const Options& options)
    : network(options.sim, clock), options_(options), ranks_(options.ranks) {
  routing_of_0_ = make_routing(std::vector<uint32_t>(options.ranks, 1), 0);
  for (uint32_t number = 0; number < options_.ranks; ++number) start(number);
  for (uint32_t number = 0; number < options_.ranks; ++number) introduce(number);
  for (uint32_t times = 0; times < 1'000'000 && !connected(); ++times) step(10'000);
  REQUIRE(connected());
}

RanksScene::~RanksScene() {
  for (uint32_t number = 0; number < options_.ranks; ++number) kill(number);
}

void RanksScene::start(uint32_t number) {
  Rank& rank = ranks_[number];
  auto memory =
      StoreMemory::create({.budget_bytes = options_.memory_bytes, .huge_pages = HugePages::off});
  REQUIRE(memory);
  rank.memory = std::move(*memory);
  copyrpc::NodeOptions node = options_.node;
  node.incarnation = ++rank.incarnation;
  node.seed = number;
  std::function<Network&(RpcNetwork&)> through;
  if (options_.through) {
    through = [&](RpcNetwork& of) -> Network& { return options_.through(number, of); };
  }
  sim::InProcessRank parts =
      sim::make_rank(number, network.attach(), node,
                     {.value_bytes_max = kValueBytesMaxDefault, .rank_count = options_.ranks},
                     clock, *rank.memory, through);
  rank.network = std::move(parts.network);
  rank.daemon = std::move(parts.daemon);
  rank.seat = rank.daemon->attach({0, 1, options_.depth, 4096, kBulkBytes});
  rank.client = std::make_unique<Client>(rank.daemon->client(*rank.seat));
  rank.daemon->settle(100);
}

void RanksScene::introduce(uint32_t number) {
  for (Rank& other : ranks_) {
    if (&other == &ranks_[number] || other.network == nullptr) continue;
    ranks_[number].network->set_peer(other.network->node().card());
    other.network->set_peer(ranks_[number].network->node().card());
  }
}

void RanksScene::kill(uint32_t number) {
  Rank& rank = ranks_[number];
  rank.client.reset();
  rank.daemon.reset();
  rank.network.reset();
  rank.seat.reset();
  rank.memory.reset();
  rank.ends.clear();
  rank.values.clear();
}

void RanksScene::restart(uint32_t number) {
  start(number);
  introduce(number);
}

bool RanksScene::connected() const {
  return std::all_of(ranks_.begin(), ranks_.end(), [&](const Rank& rank) {
    return rank.network == nullptr || rank.network->node().peers_up() == options_.ranks - 1;
  });
}

void RanksScene::step(uint64_t by_ns) {
  for (Rank& rank : ranks_) {
    if (rank.daemon == nullptr) continue;
    (void)rank.daemon->turn();
    REQUIRE(rank.network->node().is_valid());
    std::array<Completion, 16> done;
    const size_t count = rank.client->poll(done);
    for (size_t index = 0; index < count; ++index) {
      rank.last = done[index].result;
      rank.value.assign(done[index].result.value);
      rank.ends.emplace_back(done[index].tag, done[index].result.status);
      rank.values.push_back(rank.value);
    }
  }
  clock.advance_ns(by_ns);
}

bool RanksScene::settle() {
  const uint64_t end_ns = clock.now_ns() + 5 * kNanosPerSecond;
  while (std::any_of(ranks_.begin(), ranks_.end(), [](const Rank& rank) {
    return rank.client != nullptr && rank.client->in_flight() > 0;
  })) {
    if (clock.now_ns() > end_ns) return false;
    const uint64_t due_ns = std::max(network.next_due_ns(), clock.now_ns() + 500);
    step(std::min<uint64_t>(due_ns - clock.now_ns(), 20'000));
  }
  return true;
}

void RanksScene::run_ms(uint64_t virtual_ms) {
  const uint64_t end_ns = clock.now_ns() + virtual_ms * kNanosPerMilli;
  while (clock.now_ns() < end_ns) step(1'000'000);
}

Result RanksScene::end_of(uint32_t number, Status submitted) {
  Rank& rank = ranks_[number];
  if (submitted != Status::ok) return {.status = submitted};
  rank.ends.clear();
  rank.values.clear();
  REQUIRE(settle());
  REQUIRE(rank.ends.size() == 1);
  Result result = rank.last;
  result.value = rank.value;
  return result;
}

Result RanksScene::get(uint32_t number, const std::string& key) {
  return end_of(number, client(number).submit_get(key, kTag));
}
Result RanksScene::put(uint32_t number, const std::string& key, const std::string& value,
                       const PutOptions& options) {
  return end_of(number, client(number).submit_put(key, value, kTag, options));
}
Result RanksScene::del(uint32_t number, const std::string& key) {
  return end_of(number, client(number).submit_del(key, kTag));
}
Result RanksScene::add(uint32_t number, const std::string& key, int64_t delta) {
  return end_of(number, client(number).submit_add(key, delta, kTag));
}
Result RanksScene::exists(uint32_t number, const std::string& key) {
  return end_of(number, client(number).submit_exists(key, kTag));
}
Result RanksScene::touch(uint32_t number, const std::string& key, uint32_t ttl_ms) {
  return end_of(number, client(number).submit_touch(key, ttl_ms, kTag));
}

std::string RanksScene::key_of(uint32_t number, const std::string& name) const {
  for (uint32_t suffix = 0;; ++suffix) {
    std::string key = fmt::format("{}-{}", name, suffix);
    const uint16_t owner = routing_of_0_.partition_owner[partition_of(hash_key(key))];
    if (routing_of_0_.owners[owner].rank == number) return key;
  }
}

}  // namespace copykv::test
