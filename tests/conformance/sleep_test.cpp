// SPDX-License-Identifier: Apache-2.0
// Sleeping on wait_fd: what arrives wakes, and nothing that arrives is slept over.
#include <poll.h>

#include <thread>

#include <catch2/catch.hpp>

#include "tests/conformance/world.hpp"

namespace copyrpc::conformance {
namespace {

using Posted = Fabric::Posted;

constexpr int kSleepMsMax = 2'000;  // far beyond any wake-up: sleeping this long is a lost one

bool can_sleep(const World& world, Side& side) {
  if (world.transport().is_real && side.fabric->wait_fd() >= 0) return true;
  WARN("this fabric cannot be slept on");
  return false;
}

/// Polls, and sleeps when there is nothing. False: slept to the end.
bool sleep_until(Side& side, const std::function<bool()>& condition) {
  for (;;) {
    side.poll();
    if (condition()) return true;
    if (!side.fabric->arm()) continue;
    pollfd descriptor{side.fabric->wait_fd(), POLLIN, 0};
    if (::poll(&descriptor, 1, kSleepMsMax) == 0) return false;
  }
}

TEST_CASE("an armed sleeper is woken by what arrives") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  if (!can_sleep(world, b)) return;
  Buffer from(a, 65536, Access::local);
  Buffer to(b, 65536, Access::remote_write);
  world.connect_pair(a, b);
  REQUIRE(world.until([&] {
    return a.fabric->write_immediate(1, from.part(0, 8), to.remote(), 0, 0) == Posted::yes;
  }));
  a.fabric->submit();
  REQUIRE(world.until([&] { return b.arrived.size() == 1; }));
  for (const uint32_t bytes : {8U, 65536U}) {
    while (!b.fabric->arm()) b.poll();
    pollfd descriptor{b.fabric->wait_fd(), POLLIN, 0};
    CHECK(::poll(&descriptor, 1, 20) == 0);  // nothing has been sent yet
    REQUIRE(a.fabric->write_immediate(1, from.part(0, bytes), to.remote(), bytes, bytes) ==
            Posted::yes);
    a.fabric->submit();
    const bool woken = ::poll(&descriptor, 1, kSleepMsMax) == 1;
    CHECK(woken);
    const size_t before = b.arrived.size();
    REQUIRE(world.until([&] { return b.arrived.size() > before; }));
  }
}

TEST_CASE("an endpoint that has not been polled does not go to sleep over what has come") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  if (!can_sleep(world, b)) return;
  Buffer from(a, 64, Access::local);
  Buffer to(b, 64, Access::remote_write);
  world.connect_pair(a, b);
  for (uint32_t round = 0; round < 10; ++round) {
    REQUIRE(world.post([&] {
      return a.fabric->write_immediate(1, from.part(0, 8), to.remote(), round, round + 1);
    }) == Posted::yes);
    a.fabric->submit();
    // Arming looks around, too: what it takes from the network wakes nobody any more.
    bool awake = false;
    for (uint32_t attempt = 0; attempt < 5 && !awake; ++attempt) {
      pollfd descriptor{b.fabric->wait_fd(), POLLIN, 0};
      awake = !b.fabric->arm() || ::poll(&descriptor, 1, kSleepMsMax) == 1;
      if (awake) b.poll();
      awake = awake && b.arrived.size() == round + 1;
      CHECK((awake || attempt < 4));
    }
    REQUIRE(world.until([&] { return b.arrived.size() == round + 1; }));
  }
}

TEST_CASE("an idle endpoint that has talked lets its thread sleep") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  if (!can_sleep(world, a)) return;
  Buffer from(a, 64, Access::local);
  Buffer to(b, 64, Access::remote_write);
  world.connect_pair(a, b);
  for (uint32_t at = 0; at < 100; ++at) {
    REQUIRE(world.post([&] {
      return a.fabric->write_immediate(1, from.part(0, 8), to.remote(), at, at + 1);
    }) == Posted::yes);
    a.fabric->submit();
  }
  REQUIRE(world.until([&] { return b.arrived.size() == 100 && a.ended.size() == 100; }));
  for (Side* side : {&a, &b}) {
    // Some wakes are left over from the talk; then there is nothing to wake for.
    uint32_t wakes = 0;
    int slept = 1;
    for (; wakes < 10 && slept == 1; ++wakes) {
      side->poll();
      if (!side->fabric->arm()) continue;
      pollfd descriptor{side->fabric->wait_fd(), POLLIN, 0};
      slept = ::poll(&descriptor, 1, 50);
    }
    CHECK(slept == 0);
  }
}

TEST_CASE("a peer that is gone wakes a sleeper") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  if (!can_sleep(world, a)) return;
  Buffer from(a, 64, Access::local);
  auto to = std::make_unique<Buffer>(b, 64, Access::remote_write);
  world.connect_pair(a, b);
  REQUIRE(world.post([&] {
    return a.fabric->write_immediate(1, from.part(0, 8), to->remote(), 0, 0);
  }) == Posted::yes);
  a.fabric->submit();
  REQUIRE(world.until([&] { return !b.arrived.empty(); }));
  to.reset();
  world.remove(b);
  CHECK(sleep_until(a, [&] { return a.has_lost(1); }));
}

/// One side of a ping-pong in a thread of its own.
void play(Side& side, PeerId peer, const Buffer& from, const RemoteMemory& to, bool serves,
          uint32_t rounds, uint32_t& lost_wakeups) {
  for (uint32_t round = 0; round < rounds && lost_wakeups == 0; ++round) {
    const auto send = [&] {
      Posted posted = Posted::full;
      while (posted == Posted::full) {
        posted = side.fabric->write_immediate(peer, from.part(0, 8), to, round, kUnsignalled);
        if (posted == Posted::full) side.poll();
      }
      side.fabric->submit();
    };
    if (serves) send();
    if (!sleep_until(side, [&] { return side.arrived.size() > round; })) ++lost_wakeups;
    if (!serves) send();
  }
}

TEST_CASE("a thousand round trips between two sleepers: no wake-up is lost") {
  World world;
  if (!world.transport().is_real) return;
  Side& a = world.add();
  Side& b = world.add();
  if (!can_sleep(world, a)) return;
  Buffer at_a(a, 64, Access::remote_write);
  Buffer at_b(b, 64, Access::remote_write);
  world.connect_pair(a, b);
  constexpr uint32_t kRounds = 1000;
  uint32_t lost_a = 0;
  uint32_t lost_b = 0;
  std::thread other([&] { play(b, 0, at_b, at_a.remote(), false, kRounds, lost_b); });
  play(a, 1, at_a, at_b.remote(), true, kRounds, lost_a);
  other.join();
  CHECK(lost_a == 0);
  CHECK(lost_b == 0);
  CHECK(a.arrived.size() == kRounds);
  CHECK(b.arrived.size() == kRounds);
}

}  // namespace
}  // namespace copyrpc::conformance
