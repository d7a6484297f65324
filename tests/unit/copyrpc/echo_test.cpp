// SPDX-License-Identifier: Apache-2.0
// An echo service over copyrpc, which shows that it knows nothing of keys: every size, every place
// in the ring, rings from two messages up, both directions at once.
#include <algorithm>
#include <bit>

#include "tests/unit/copyrpc/scene.hpp"

using namespace copyrpc;
using copyrpc::test::Scene;
using copyrpc::test::SceneOptions;

namespace {

constexpr uint32_t kHeadBytes = 24;

SceneOptions small_ring(uint32_t message_bytes_max, uint32_t ring_bytes) {
  SceneOptions options;
  options.node.message_bytes_max = message_bytes_max;
  options.node.ring_bytes = ring_bytes;
  return options;
}

/// Everyone calls everyone with random sizes until `calls` are through.
void exchange(Scene& scene, uint64_t calls, uint32_t bytes_max) {
  const uint64_t goal = scene.answered + calls;
  uint64_t started = 0;
  REQUIRE(scene.run_until(
      [&] {
        for (uint32_t from = 0; from < scene.options.nodes; ++from) {
          for (uint32_t burst = 0; burst < 8 && started < calls; ++burst) {
            const auto to = static_cast<uint32_t>(scene.random.below(scene.options.nodes));
            if (to == from) continue;
            const auto bytes = static_cast<uint32_t>(scene.random.below(bytes_max + 1));
            const auto answer = static_cast<uint32_t>(scene.random.below(bytes_max + 1));
            started += scene.call(from, to, bytes, answer);
            REQUIRE((scene.sent == Node::Sent::accepted || scene.sent == Node::Sent::full));
          }
        }
        return scene.answered >= goal;
      },
      60'000));
  CHECK(scene.in_flight() == 0);
}

}  // namespace

TEST_CASE("a call is answered") {
  Scene scene({});
  REQUIRE(scene.connect_all());
  REQUIRE(scene.call(0, 1, 100, 50));
  REQUIRE(scene.run_until([&] { return scene.answered == 1; }));
  CHECK(scene.served == 1);
  CHECK_FALSE(scene.node(0).busy());
  CHECK(scene.node(0).counters().batches_sent == 1);
}

TEST_CASE("messages of every size stand at every place of the ring") {
  Scene scene(small_ring(1024, 4096));
  REQUIRE(scene.connect_all());
  // 16-byte steps of size against a ring of 4,096 bytes: each size starts at each offset.
  for (uint32_t bytes = 0; bytes <= 1024 - kHeadBytes; bytes += 1 + bytes % 16) {
    for (uint32_t times = 0; times < 9; ++times) {
      REQUIRE(scene.call(0, 1, bytes, 1024 - kHeadBytes - bytes));
      REQUIRE(scene.run_until([&] { return scene.in_flight() == 0; }));
    }
  }
}

TEST_CASE("rings from two messages up, under load from both sides") {
  const auto message_bytes = GENERATE(256U, 900U, 2000U, 2048U - 48U, 4000U);
  const auto flush = GENERATE(as<std::string>(), "loop", "call", "hold:3", "clocked", "clocked:1");
  SceneOptions options = small_ring(message_bytes, 0);
  options.node.ring_bytes =
      std::max(4096U, std::bit_ceil(2 * message_cost(options.node.message_bytes_max)));
  options.node.flush = *FlushPolicy::parse(flush);
  options.put_back = 0.05;
  options.defer = 0.1;
  options.sim.jitter_ns = 700;
  Scene scene(options);
  REQUIRE(scene.connect_all());
  exchange(scene, 1'500, message_bytes - kHeadBytes);
  CHECK(scene.lost == 0);
  CHECK(scene.node(0).counters().ring_full > 0);
}

TEST_CASE("large rings carry many messages a batch") {
  SceneOptions options;
  options.node.flush.in_flight_max = 1;
  Scene scene(options);
  REQUIRE(scene.connect_all());
  uint64_t sent = 0;
  REQUIRE(scene.run_until([&] {
    while (scene.in_flight() < 128) sent += scene.call(0, 1, 8, 8);
    return scene.answered > 20'000;
  }));
  const NodeCounters& counters = scene.node(0).counters();
  CHECK(counters.messages_sent > 8 * counters.batches_sent);
}

TEST_CASE("batches to many peers share what is on its way, and the first to a peer never waits") {
  const uint32_t queues = GENERATE(1U, 2U, 8U);
  const uint32_t peers = GENERATE(1U, 2U, 7U);
  SceneOptions options;
  options.nodes = 8;
  options.node.flush.in_flight_max = 2;
  options.sim.send_queues = queues;
  Scene scene(options);
  REQUIRE(scene.connect_all());
  for (uint32_t round = 0; round < 3; ++round) {
    for (uint32_t peer = 1; peer <= peers; ++peer) {
      REQUIRE(scene.call(0, peer, 8, 8));
      scene.node(0).flush();
    }
  }
  const uint32_t all_max = queues == 1 ? 2 : 4;
  CHECK(scene.node(0).counters().batches_sent == std::max(peers, std::min(2 * peers, all_max)));
  CHECK(scene.run_until([&] { return scene.in_flight() == 0; }));
}

TEST_CASE("five nodes talk with each other") {
  SceneOptions options;
  options.nodes = 5;
  options.sim.jitter_ns = 3'000;
  options.put_back = 0.02;
  options.defer = 0.05;
  Scene scene(options);
  REQUIRE(scene.connect_all());
  exchange(scene, 20'000, 3'000);
}

TEST_CASE("nodes with rings of two sizes use the smaller one") {
  SceneOptions options = small_ring(1000, 4096);
  Scene scene(options);
  // A second pair of eyes: node 1 is made anew with a larger ring.
  scene.kill(1);
  scene.options.node.ring_bytes = 65'536;
  scene.restart(1);
  REQUIRE(scene.run_until([&] { return scene.node(0).is_up(1) && scene.node(1).is_up(0); }));
  exchange(scene, 3'000, 900);
  CHECK(scene.node(0).counters().violations + scene.node(1).counters().violations == 0);
}

TEST_CASE("what is too large is refused at once") {
  Scene scene(small_ring(1024, 4096));
  REQUIRE(scene.connect_all());
  CHECK_FALSE(scene.call(0, 1, 1024 - kHeadBytes + 1, 0));
  CHECK(scene.sent == Node::Sent::too_large);
  CHECK_FALSE(scene.call(0, 1, 0, 1024 - kHeadBytes + 1));
  CHECK(scene.sent == Node::Sent::too_large);
  CHECK(scene.call(0, 1, 1024 - kHeadBytes, 1024 - kHeadBytes));
  CHECK(scene.run_until([&] { return scene.answered == 1; }));
}
