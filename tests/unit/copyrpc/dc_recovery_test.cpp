// SPDX-License-Identifier: Apache-2.0
// A peer that fails takes nobody with it, though others' posts were in the same initiator.
#include <algorithm>

#include "base/random.hpp"
#include "tests/unit/copyrpc/dc_scene.hpp"

namespace copyrpc {
namespace {

using Posted = Fabric::Posted;
using Kind = Completion::Kind;

constexpr uint64_t kStallNsMax = 10 * copykv::kNanosPerMilli;

/// a sends to b (peer 1) and c (peer 2) through one initiator.
struct Shared : DcScene {
  DcEndpoint& a = add();
  DcEndpoint& b = add();
  DcEndpoint& c = add();
  explicit Shared(emulated_mlx5::Options device = {}) : DcScene(1, device) {
    connect(a, 1, b);
    connect(a, 2, c);
  }
  /// `count` posts in turns that `seed` chooses; returns how many were for c.
  uint32_t post_mixed(uint64_t seed, uint32_t count) {
    copykv::Random random(seed);
    uint32_t for_c = 0;
    for (uint32_t at = 0; at < count; ++at) {
      const bool to_c = random.below(2) == 0;
      const uint32_t number = to_c ? for_c++ : 1'000;
      REQUIRE(post(a, to_c ? 2 : 1, to_c ? c : b, number, at + 1) == Posted::yes);
      if (random.below(3) == 0) a.fabric->submit();
    }
    a.fabric->submit();
    return for_c;
  }
  void expect_whole(uint32_t for_c, uint32_t count) {
    // Each once, and in order.
    REQUIRE(until([&] { return c.arrived.size() >= for_c && a.ended.size() >= count; }));
    for (uint32_t at = 0; at < 1'000; ++at) step();
    REQUIRE(c.arrived.size() == for_c);
    for (uint32_t at = 0; at < for_c; ++at) REQUIRE(c.arrived[at] == at);
    CHECK(a.count(Kind::done, 2) == for_c);
    CHECK(a.count(Kind::failed, 2) == 0);
    CHECK(a.ended.size() == count);
    CHECK(c.lost.empty());
    REQUIRE(a.lost.size() == 1);
    CHECK(a.lost[0].peer == 1);
  }
};

TEST_CASE("a peer that does not answer: it fails, the other's posts arrive once and in order") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    emulated_mlx5::Options device;
    device.seed = seed;
    device.jitter_ns = 2'000;
    Shared scene(device);
    emulated_mlx5::cut(scene.b.context, true);
    const uint64_t start_ns = scene.clock.now_ns();
    const uint32_t for_c = scene.post_mixed(seed, 40);
    scene.expect_whole(for_c, 40);
    CHECK(scene.a.count(Kind::failed, 1) == 40 - for_c);
    CHECK(scene.a.lost[0].error == ETIMEDOUT);
    CHECK(scene.c.arrived_at_ns.back() - start_ns < kStallNsMax);
    CHECK(emulated_mlx5::counters().resets == 1);
  }
}

TEST_CASE("a post that is refused in the middle: what was before it is done, the rest as above") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Shared scene;
    uint32_t for_b = 0;
    for (; for_b < seed % 5; ++for_b)
      REQUIRE(scene.post(scene.a, 1, scene.b, for_b, 500 + for_b) == Posted::yes);
    RemoteMemory wrong = scene.b.memory.remote;
    wrong.key ^= 1;
    REQUIRE(scene.a.fabric->write_immediate(1, {&scene.a.memory, 0, 64}, wrong, 7, 777) ==
            Posted::yes);
    const uint32_t for_c = scene.post_mixed(seed, 30);
    scene.expect_whole(for_c, 30 + for_b + 1);
    CHECK(scene.a.count(Kind::done, 1) == for_b);
    CHECK(scene.b.arrived.size() == for_b);
    CHECK(scene.a.lost[0].error == EACCES);
  }
}

TEST_CASE("a peer without receive entries is an error with a name, and only its own") {
  DcScene scene(1);
  scene.options.receive_entries = 32;
  DcEndpoint& a = scene.add();
  DcEndpoint& b = scene.add();
  DcEndpoint& c = scene.add();
  scene.connect(a, 1, b);
  scene.connect(a, 2, c);
  // b does not poll: its entries run out.
  for (uint32_t at = 0; at < 60; ++at) REQUIRE(scene.post(a, 1, b, at, at + 1) == Posted::yes);
  REQUIRE(scene.post(a, 2, c, 5, 100) == Posted::yes);
  a.fabric->submit();
  const uint64_t start_ns = scene.clock.now_ns();
  while ((c.arrived.empty() || a.lost.empty()) && scene.clock.now_ns() - start_ns < kStallNsMax) {
    scene.poll(a);
    scene.poll(c);
    scene.clock.advance_ns(5'000);
  }
  CHECK(c.arrived == std::vector<uint32_t>{5});
  REQUIRE(a.lost.size() == 1);
  CHECK(a.lost[0].peer == 1);
  CHECK(a.lost[0].error == ENOBUFS);
}

TEST_CASE("two peers die at once: one stall after the other, and everyone else lives") {
  DcScene scene(1);
  DcEndpoint& a = scene.add();
  for (PeerId peer = 1; peer <= 4; ++peer) scene.connect(a, peer, scene.add());
  emulated_mlx5::cut(scene.all[1]->context, true);
  emulated_mlx5::cut(scene.all[3]->context, true);
  const uint64_t start_ns = scene.clock.now_ns();
  for (uint32_t at = 0; at < 10; ++at)
    for (PeerId peer = 1; peer <= 4; ++peer)
      REQUIRE(scene.post(a, peer, *scene.all[peer], at, peer) == Posted::yes);
  a.fabric->submit();
  REQUIRE(scene.until([&] {
    return scene.all[2]->arrived.size() == 10 && scene.all[4]->arrived.size() == 10 &&
           a.lost.size() == 2;
  }));
  CHECK(scene.clock.now_ns() - start_ns < 2 * kStallNsMax);
  CHECK(a.count(Kind::failed, 1) == 10);
  CHECK(a.count(Kind::failed, 3) == 10);
}

TEST_CASE("the number of a peer that failed is connected again, again and again") {
  Shared scene;
  for (uint32_t life = 0; life < 30; ++life) {
    CAPTURE(life);
    scene.a.ended.clear();
    scene.a.lost.clear();
    scene.c.arrived.clear();
    emulated_mlx5::cut(scene.b.context, true);
    const uint32_t for_c = scene.post_mixed(life, 30);
    scene.expect_whole(for_c, 30);
    scene.a.fabric->disconnect(1);
    emulated_mlx5::cut(scene.b.context, false);
    scene.connect(scene.a, 1, scene.b);
  }
}

TEST_CASE("what was in flight to a peer that is hung up on is not sent again") {
  Shared scene;
  emulated_mlx5::cut(scene.b.context, true);
  REQUIRE(scene.post(scene.a, 1, scene.b, 1, 11) == Posted::yes);
  REQUIRE(scene.post(scene.a, 2, scene.c, 2, 22) == Posted::yes);
  scene.a.fabric->submit();
  scene.a.fabric->disconnect(2);
  scene.a.fabric->disconnect(1);
  REQUIRE(scene.until([&] { return scene.a.ended.size() == 2; }));
  for (uint32_t at = 0; at < 1'000; ++at) scene.step();
  CHECK(scene.a.ended.size() == 2);
  CHECK(scene.a.lost.empty());
  CHECK(scene.c.arrived.empty());
}

TEST_CASE("one dead peer of many holds the others up for less than 10 ms") {
  constexpr PeerId kPeers = 63;
  DcScene scene(8, {}, kPeers + 1);
  DcEndpoint& a = scene.add();
  for (PeerId peer = 1; peer <= kPeers; ++peer) scene.connect(a, peer, scene.add());
  emulated_mlx5::cut(scene.all[7]->context, true);
  const uint64_t start_ns = scene.clock.now_ns();
  while (scene.clock.now_ns() - start_ns < 3 * kStallNsMax) {
    for (PeerId peer = 1; peer <= kPeers; ++peer)
      (void)scene.post(a, peer, *scene.all[peer], 1, kUnsignalled);
    a.fabric->submit();
    for (uint32_t at = 0; at < 20; ++at) scene.step();
  }
  uint64_t worst_ns = 0;
  for (PeerId peer = 1; peer <= kPeers; ++peer) {
    if (peer == 7) continue;
    uint64_t before_ns = start_ns;
    for (const uint64_t at_ns : scene.all[peer]->arrived_at_ns) {
      worst_ns = std::max(worst_ns, at_ns - before_ns);
      before_ns = at_ns;
    }
    worst_ns = std::max(worst_ns, scene.clock.now_ns() - before_ns);
  }
  WARN("simulated: worst gap of a live peer " << worst_ns / 1'000 << " us");
  CHECK(worst_ns < kStallNsMax);
  CHECK(a.lost.size() == 1);
}

}  // namespace
}  // namespace copyrpc
