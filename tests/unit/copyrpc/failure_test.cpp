// SPDX-License-Identifier: Apache-2.0
// Peers that die, fall silent, come back; links that are cut; queues that break; credit that runs
// out. Every call ends exactly once (scene.cpp), nothing of an old session is accepted, and nobody
// else notices.
#include <algorithm>
#include <array>
#include <vector>

#include "tests/unit/copyrpc/scene.hpp"

using namespace copyrpc;
using copykv::kNanosPerMilli;
using copyrpc::test::Scene;
using copyrpc::test::SceneOptions;

namespace {

/// Calls between the given nodes, as many as are accepted, for some time.
void load(Scene& scene, std::vector<uint32_t> nodes, uint64_t virtual_us, uint32_t depth = 16) {
  const uint64_t end_ns = scene.clock.now_ns() + virtual_us * 1'000;
  while (scene.clock.now_ns() < end_ns) {
    for (const uint32_t from : nodes) {
      const auto to = nodes[scene.random.below(nodes.size())];
      if (from == to || scene.in_flight() >= depth * nodes.size()) continue;
      (void)scene.call(from, to, static_cast<uint32_t>(scene.random.below(600)),
                       static_cast<uint32_t>(scene.random.below(600)));
    }
    scene.step();
  }
}

bool settled(Scene& scene) {
  return scene.run_until([&] { return scene.in_flight() == 0; });
}

}  // namespace

TEST_CASE("credit exhausted both ways is no deadlock") {
  SceneOptions options;
  options.node.message_bytes_max = 1024;
  options.node.ring_bytes = 4096;
  options.defer = 0.5;
  Scene scene(options);
  REQUIRE(scene.connect_all());
  for (uint32_t round = 0; round < 200; ++round) {
    // Both sides first stage all that they can, then look at what came.
    for (const uint32_t from : {0U, 1U}) {
      while (scene.call(from, 1 - from, 900, 900)) {
      }
      REQUIRE(scene.sent == Node::Sent::full);
    }
    REQUIRE(scene.run_until([&] { return scene.in_flight() == 0; }));
  }
  CHECK(scene.node(0).counters().credit_writes > 0);
}

TEST_CASE("credit comes back when a message is done with, not when it was read") {
  SceneOptions options;
  options.node.message_bytes_max = 1024;
  options.node.ring_bytes = 4096;
  options.put_back = 1.0;
  Scene scene(options);
  REQUIRE(scene.connect_all());
  uint32_t accepted = 0;
  for (uint32_t turn = 0; turn < 2'000; ++turn) {
    accepted += scene.call(0, 1, 400, 0);
    scene.step();
  }
  CHECK(accepted == 4);  // 2,048 bytes of ring for calls, and nothing was released
  scene.options.put_back = 0;
  CHECK(settled(scene));
  CHECK(scene.answered == 4);
  CHECK(scene.call(0, 1, 400, 0));
}

TEST_CASE("the receive queue is never overrun, three times around and more") {
  SceneOptions options;
  options.nodes = 5;
  options.sim.receive_entries = 12;  // three for each peer: one hello, two batches
  options.node.flush.kind = FlushPolicy::Kind::call;
  Scene scene(options);
  REQUIRE(scene.connect_all());
  load(scene, {0, 1, 2, 3, 4}, 3'000);
  REQUIRE(settled(scene));
  CHECK(scene.answered > 1'000);
  CHECK(scene.network.counters().not_ready == 0);
  CHECK(scene.lost == 0);
  for (uint32_t node = 0; node < 5; ++node) {
    CHECK(scene.node(node).counters().batches_received > 3 * 12);
  }
}

TEST_CASE("too few receive entries are refused at the start, with the numbers") {
  const copykv::ManualClock clock;
  SimOptions sim;
  sim.receive_entries = 7;
  SimNetwork network(sim, clock);
  const auto fabric = network.attach();
  NodeOptions options;
  options.nodes = 5;
  const auto made = Node::create(options, *fabric, clock);
  REQUIRE_FALSE(made);
  CHECK(made.error.find("7 receive entries of sim for 4 peers") != std::string::npos);
}

TEST_CASE("a send queue that is full loses and reorders nothing") {
  SceneOptions options;
  options.sim.posts_max = 2;
  options.sim.done_delay_ns = 20'000;
  options.node.flush = *FlushPolicy::parse(GENERATE("call", "loop", "clocked"));
  options.node.ring_bytes = 32'768;
  Scene scene(options);
  REQUIRE(scene.connect_all());
  load(scene, {0, 1}, 20'000);
  REQUIRE(settled(scene));
  CHECK(scene.lost + scene.unsent == 0);
  CHECK(scene.answered > 500);
  CHECK(scene.node(0).counters().peers_failed == 0);
}

TEST_CASE("a peer that dies ends its calls, the others go on, and it comes back") {
  SceneOptions options;
  options.nodes = 3;
  options.node.ring_bytes = 32'768;
  options.defer = 0.1;
  options.sim.jitter_ns = 2'000;
  options.seed = GENERATE(range(uint64_t{1}, uint64_t{20}));
  Scene scene(options);
  REQUIRE(scene.connect_all());
  for (uint32_t round = 0; round < 3; ++round) {
    load(scene, {0, 1, 2}, 200 + scene.random.below(300));
    scene.kill(2);
    const uint64_t killed_ns = scene.clock.now_ns();
    const uint64_t before = scene.answered;
    load(scene, {0, 1}, 300);
    CHECK(scene.answered > before + 50);
    REQUIRE(scene.run_until([&] { return scene.in_flight() == 0; }));
    CHECK(scene.clock.now_ns() - killed_ns < 1'000 * kNanosPerMilli);
    REQUIRE(scene.run_until([&] { return !scene.node(0).is_up(2) && !scene.node(1).is_up(2); }));
    CHECK(scene.clock.now_ns() - killed_ns < 1'000 * kNanosPerMilli);
    CHECK_FALSE(scene.call(0, 2, 8, 8));
    CHECK(scene.sent == Node::Sent::unreachable);
    scene.restart(2);
    REQUIRE(scene.run_until([&] {
      return scene.node(0).is_up(2) && scene.node(1).is_up(2) && scene.node(2).peers_up() == 2;
    }));
  }
  load(scene, {0, 1, 2}, 500);
  REQUIRE(settled(scene));
  for (uint32_t node = 0; node < 3; ++node) CHECK(scene.node(node).counters().violations == 0);
}

TEST_CASE("a peer that falls silent is noticed within a second, and is welcome when it wakes") {
  SceneOptions options;
  options.nodes = 3;
  Scene scene(options);
  REQUIRE(scene.connect_all());
  REQUIRE(scene.call(0, 1, 8, 8));
  REQUIRE(scene.call(0, 2, 8, 8));
  scene.node(0).flush();
  const uint64_t silent_ns = scene.clock.now_ns();
  // Node 1 does not turn any more; its memory and its connections live on.
  while (scene.node(0).is_up(1)) {
    scene.turn(0);
    scene.turn(2);
    scene.clock.advance_ns(1'000'000);
    REQUIRE(scene.clock.now_ns() - silent_ns < 1'000 * kNanosPerMilli);
  }
  scene.turn(0);
  CHECK(scene.answered == 1);
  CHECK(scene.lost == 1);
  CHECK(scene.node(0).is_up(2));
  REQUIRE(scene.run_until([&] { return scene.node(0).is_up(1) && scene.node(1).is_up(0); }));
  load(scene, {0, 1, 2}, 300);
  CHECK(settled(scene));
  CHECK(scene.node(0).counters().violations + scene.node(1).counters().violations == 0);
}

TEST_CASE("idle peers stay up") {
  Scene scene({});
  REQUIRE(scene.connect_all());
  scene.run_ms(20'000);
  CHECK(scene.node(0).counters().peers_failed == 0);
  CHECK(scene.node(0).is_up(1));
}

TEST_CASE("a link that is cut and healed") {
  SceneOptions options;
  options.nodes = 3;
  options.node.ring_bytes = 32'768;
  options.seed = GENERATE(range(uint64_t{1}, uint64_t{6}));
  Scene scene(options);
  scene.check_order = true;
  REQUIRE(scene.connect_all());
  const uint64_t cut_ms = GENERATE(1U, 300U, 3'000U);  // unnoticed, almost, for long
  load(scene, {0, 1, 2}, 300);
  scene.network.cut(0, 1);
  const uint64_t before = scene.answered;
  for (uint32_t call = 0; call < 20; ++call) (void)scene.call(2, call % 2, 8, 8);
  scene.run_ms(cut_ms);
  CHECK(scene.answered >= before + 20);
  scene.network.heal(0, 1);
  REQUIRE(scene.run_until([&] { return scene.node(0).is_up(1) && scene.node(1).is_up(0); }));
  load(scene, {0, 1, 2}, 300);
  REQUIRE(settled(scene));
  CHECK(scene.node(0).counters().peers_failed == (cut_ms > 1'000 ? 1 : 0));
  CHECK(scene.node(0).is_up(2));
}

/// Two bare endpoints; what one of them tells the other.
struct Pipe {
  copykv::ManualClock clock{1'000'000};
  const SimOptions options;
  SimNetwork network{options, clock};
  std::unique_ptr<Fabric> from = network.attach();
  std::unique_ptr<Fabric> to = network.attach();
  std::array<std::byte, 64> memory{};
  Memory here = *from->register_memory(memory.data(), memory.size(), Access::local);
  Memory there = *to->register_memory(memory.data(), memory.size(), Access::remote_write);
  std::vector<uint32_t> came;

  Pipe() {
    REQUIRE(from->connect(1, to->address()));
    REQUIRE(to->connect(0, from->address()));
  }
  void post(uint32_t immediate, uint32_t bytes) {
    REQUIRE(from->write_immediate(1, {&here, 0, bytes}, there.remote, immediate, kUnsignalled) ==
            Fabric::Posted::yes);
  }
  /// Ten steps take what is posted over.
  void pass(uint32_t steps) {
    for (uint32_t step = 0; step < steps; ++step) {
      clock.advance_ns(options.latency_ns / 10);
      network.run();
      std::array<Completion, 8> completions;
      const uint32_t count = to->poll(completions);
      for (uint32_t at = 0; at < count; ++at) {
        REQUIRE(completions[at].kind == Completion::Kind::arrived);
        came.push_back(completions[at].immediate);
      }
    }
  }
};

TEST_CASE("what a cut link has held comes before what was sent after it") {
  Pipe pipe;
  const auto send = [&](uint32_t immediate) {
    pipe.post(immediate, 8);
    pipe.from->submit();
  };
  pipe.network.cut(0, 1);
  send(1);
  pipe.clock.advance_ns(10 * pipe.options.latency_ns);
  pipe.network.run();
  send(2);  // on its way when the link is whole again
  pipe.clock.advance_ns(pipe.options.latency_ns / 2);
  pipe.network.run();
  pipe.network.heal(0, 1);
  send(3);
  pipe.pass(100);
  CHECK(pipe.came == std::vector<uint32_t>{1, 2, 3});
}

TEST_CASE("of posts that are due at one moment the first posted is the first told") {
  Pipe pipe;
  for (uint32_t immediate = 0; immediate < 200; ++immediate) {
    // Every other one lands in two parts: it stands in line anew when the next one does already.
    pipe.network.set_faults({.partial_chance = immediate % 2 == 0 ? 1.0 : 0.0});
    pipe.post(immediate, 64);
    if (immediate % 2 == 0) continue;
    pipe.from->submit();
    pipe.pass(20);
  }
  CHECK(pipe.network.counters().partial == 100);
  REQUIRE(pipe.came.size() == 200);
  CHECK(std::is_sorted(pipe.came.begin(), pipe.came.end()));
}

TEST_CASE("a broken queue fails its peer, and the session starts again") {
  SceneOptions options;
  options.nodes = 3;
  options.seed = GENERATE(range(uint64_t{1}, uint64_t{10}));
  Scene scene(options);
  REQUIRE(scene.connect_all());
  for (uint32_t round = 0; round < 10; ++round) {
    load(scene, {0, 1, 2}, 50);
    scene.network.break_next_post(static_cast<uint32_t>(scene.random.below(3)));
    load(scene, {0, 1, 2}, 50);
    REQUIRE(settled(scene));
    REQUIRE(scene.run_until([&] {
      return scene.node(0).peers_up() == 2 && scene.node(1).peers_up() == 2 &&
             scene.node(2).peers_up() == 2;
    }));
  }
  CHECK(scene.node(0).counters().peers_failed + scene.node(1).counters().peers_failed +
            scene.node(2).counters().peers_failed >
        0);
}

TEST_CASE("a peer that leaves finishes what it has and gets nothing new") {
  SceneOptions options;
  options.defer = 0.5;
  Scene scene(options);
  REQUIRE(scene.connect_all());
  for (uint32_t call = 0; call < 20; ++call) REQUIRE(scene.call(0, 1, 8, 8));
  scene.node(0).flush();
  scene.node(1).leave();
  REQUIRE(settled(scene));
  CHECK(scene.answered == 20);
  CHECK_FALSE(scene.call(0, 1, 8, 8));
  CHECK(scene.sent == Node::Sent::unreachable);
}

TEST_CASE("rings come from a budget, and 128 nodes fit into 256 MiB each") {
  SceneOptions options;
  options.nodes = 128;
  options.node.receive_budget_bytes = 96U << 20;
  Scene scene(options);
  const uint64_t each = 127ULL * (scene.node(0).ring_bytes() + 4096) * 2;
  CHECK(each <= 256ULL << 20);
  CHECK(scene.node(0).ring_bytes() == 512 * 1024);
  REQUIRE(scene.connect_all());
  load(scene, {0, 5, 77, 127}, 100);
  CHECK(settled(scene));

  const copykv::ManualClock clock;
  SimNetwork network({}, clock);
  const auto fabric = network.attach();
  NodeOptions poor;
  poor.nodes = 128;
  poor.receive_budget_bytes = 1U << 20;
  const auto made = Node::create(poor, *fabric, clock);
  REQUIRE_FALSE(made);
  CHECK(made.error.find("give 4,161,536 B of receive memory") != std::string::npos);
}
