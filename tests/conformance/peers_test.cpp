// SPDX-License-Identifier: Apache-2.0
// Peers that come and go (F3, F4): each post ends exactly once, the loss is told once, the others
// notice nothing, and the number can be used again.
#include <catch2/catch.hpp>

#include "tests/conformance/world.hpp"

namespace copyrpc::conformance {
namespace {

using Posted = Fabric::Posted;

constexpr uint32_t kBytes = 65536;

/// Posts up to `count`, contexts 1.. in order, until the queue is full; returns how many.
uint32_t post_some(Side& side, PeerId peer, const Buffer& from, const RemoteMemory& to,
                   uint32_t count) {
  uint32_t posted = 0;
  for (; posted < count; ++posted) {
    if (side.fabric->write_immediate(peer, from.all(), to, posted, posted + 1) != Posted::yes)
      break;
  }
  side.fabric->submit();
  return posted;
}

/// Every post 1..count has ended, once.
bool ended_once(const Side& side, uint32_t count) {
  for (uint64_t context = 1; context <= count; ++context)
    if (side.ends(context) != 1) return false;
  return true;
}

/// Up, as both have seen.
void meet(World& world, Side& a, Side& b, const Buffer& from, const Buffer& to) {
  REQUIRE(world.post([&] {
    return a.fabric->write_immediate(1, from.part(0, 8), to.remote(), 4711, kUnsignalled);
  }) == Posted::yes);
  a.fabric->submit();
  REQUIRE(world.until([&] { return !b.arrived.empty(); }));
  b.arrived.clear();
}

/// Posts end in failure or the loss is told.
bool known_to_be_gone(World& world, Side& a, PeerId peer, const Buffer& from,
                      const RemoteMemory& to) {
  return world.until([&] {
    const Posted posted = a.fabric->write_immediate(peer, from.part(0, 8), to, 0, 99);
    a.fabric->submit();
    return posted == Posted::down || a.has_lost(peer) || a.count(Completion::Kind::failed, 99) > 0;
  });
}

TEST_CASE("a peer that was gone before it was connected") {
  World world;
  if (!world.keeps(&Transport::loss_untold) || !world.keeps(&Transport::loss_fatal)) return;
  Side& a = world.add();
  Side& b = world.add();
  Buffer from(a, kBytes, Access::local);
  const std::string address = b.fabric->address();
  RemoteMemory to{};
  {
    const Buffer gone(b, kBytes, Access::remote_write);
    to = gone.remote();
  }
  world.remove(b);
  if (!a.fabric->connect(1, address)) return;  // known at once: as good
  CHECK(known_to_be_gone(world, a, 1, from, to));
  a.fabric->disconnect(1);
  world.settle();
  CHECK(a.lost.size() <= 1);
}

TEST_CASE("a peer that goes while nothing is in flight") {
  World world;
  if (!world.keeps(&Transport::loss_untold) || !world.keeps(&Transport::loss_fatal)) return;
  Side& a = world.add();
  Side& b = world.add();
  Side& c = world.add();
  Buffer from(a, kBytes, Access::local);
  Buffer to_c(c, kBytes, Access::remote_write);
  auto to_b = std::make_unique<Buffer>(b, kBytes, Access::remote_write);
  const RemoteMemory target = to_b->remote();
  world.connect_pair(a, b);
  world.connect(a, 2, c);
  meet(world, a, b, from, *to_b);
  to_b.reset();
  world.remove(b);
  CHECK(known_to_be_gone(world, a, 1, from, target));
  world.settle();
  CHECK(a.lost.size() <= 1);
  CHECK_FALSE(a.has_lost(2));
  a.fabric->disconnect(1);
  CHECK(a.fabric->write(1, from.part(0, 8), target, 5) == Posted::down);
  // The others are untouched.
  REQUIRE(world.post([&] {
    return a.fabric->write_immediate(2, from.all(), to_c.remote(), 3, 1234);
  }) == Posted::yes);
  a.fabric->submit();
  REQUIRE(world.until([&] { return !c.arrived.empty() && a.ends(1234) > 0; }));
  CHECK(a.count(Completion::Kind::done, 1234) == 1);
}

TEST_CASE("a peer that goes while posts are in flight: each ends once") {
  World world;
  if (!world.keeps(&Transport::loss_fatal)) return;
  Side& a = world.add();
  Side& b = world.add();
  Buffer from(a, kBytes, Access::local);
  auto to = std::make_unique<Buffer>(b, kBytes, Access::remote_write);
  world.connect_pair(a, b);
  meet(world, a, b, from, *to);
  const uint32_t posted = post_some(a, 1, from, to->remote(), 40);
  REQUIRE(posted > 0);
  to.reset();
  world.remove(b);
  // What the fabric does not know to be over ends with the connection.
  world.settle();
  a.fabric->disconnect(1);
  CHECK(world.until([&] { return ended_once(a, posted); }));
  world.settle();
  CHECK(ended_once(a, posted));
  CHECK(a.lost.size() <= 1);
}

TEST_CASE("reads in flight when the peer goes end once, too") {
  World world;
  if (!world.keeps(&Transport::loss_fatal)) return;
  Side& a = world.add();
  Side& b = world.add();
  Buffer into(a, kBytes, Access::local);
  auto from = std::make_unique<Buffer>(b, kBytes, Access::remote_read_write);
  world.connect_pair(a, b);
  meet(world, a, b, into, *from);
  uint32_t posted = 0;
  for (; posted < 20; ++posted)
    if (a.fabric->read(1, into.all(), from->remote(), posted + 1) != Posted::yes) break;
  a.fabric->submit();
  REQUIRE(posted > 0);
  from.reset();
  world.remove(b);
  world.settle();
  a.fabric->disconnect(1);
  CHECK(world.until([&] { return ended_once(a, posted); }));
  // What has ended is our memory again.
  into.fill(std::byte{0x55});
  world.settle();
  CHECK(into.holds(std::byte{0x55}));
}

TEST_CASE("disconnect ends what is in flight to a peer that lives") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  Buffer from(a, kBytes, Access::local);
  Buffer to(b, kBytes, Access::remote_write);
  world.connect_pair(a, b);
  meet(world, a, b, from, to);
  const uint32_t posted = post_some(a, 1, from, to.remote(), 60);
  a.fabric->disconnect(1);
  CHECK(a.fabric->write(1, from.part(0, 8), to.remote(), 77) == Posted::down);
  // Without the peer's help: it may be stopped.
  CHECK(world.until([&] { return ended_once(a, posted); }, &a));
  world.settle();
  CHECK(ended_once(a, posted));
  CHECK(a.lost.empty());
  CHECK(a.ends(77) == 0);
}

TEST_CASE("both reconnect after one has hung up, again and again") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  Buffer from(a, kBytes, Access::local);
  Buffer to(b, kBytes, Access::remote_write);
  for (uint32_t round = 0; round < 20; ++round) {
    CAPTURE(round);
    world.connect_pair(a, b);
    meet(world, a, b, from, to);
    (void)post_some(a, 1, from, to.remote(), round);
    a.fabric->disconnect(1);
    if (round % 2 == 0) world.settle();
    b.fabric->disconnect(0);
    world.settle();
    b.arrived.clear();
    a.lost.clear();
    b.lost.clear();
  }
}

TEST_CASE("one side starts over while the other has not noticed") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  Buffer from(a, kBytes, Access::local);
  Buffer to(b, kBytes, Access::remote_write);
  Buffer back(a, kBytes, Access::remote_write);
  world.connect_pair(a, b);
  meet(world, a, b, from, to);
  a.fabric->disconnect(1);
  world.connect(a, 1, b);
  meet(world, a, b, from, to);  // whatever b thinks of its own connection
  if (b.has_lost(0)) {
    b.fabric->disconnect(0);
    world.connect(b, 0, a);
  }
  REQUIRE(world.post([&] {
    return b.fabric->write_immediate(0, to.part(0, 8), back.remote(), 9, kUnsignalled);
  }) == Posted::yes);
  b.fabric->submit();
  CHECK(world.until([&] { return a.arrived == std::vector<uint32_t>{9}; }));
  CHECK(a.lost.empty());
}

TEST_CASE("a new incarnation under the same number: the old one is not heard of again") {
  World world;
  if (!world.keeps(&Transport::loss_fatal)) return;
  Side& a = world.add();
  Side* b = &world.add();
  Buffer from(a, kBytes, Access::local);
  for (uint32_t life = 0; life < 5; ++life) {
    CAPTURE(life);
    auto to = std::make_unique<Buffer>(*b, kBytes, Access::remote_write);
    a.ended.clear();
    a.lost.clear();
    world.connect_pair(a, *b);
    meet(world, a, *b, from, *to);
    const uint32_t posted = post_some(a, 1, from, to->remote(), 16);
    to.reset();
    world.remove(*b);
    if (life % 2 == 0) world.settle();
    a.fabric->disconnect(1);
    CHECK(world.until([&] { return ended_once(a, posted); }));
    b = &world.add();
  }
}

TEST_CASE("calls that cross each other, many times") {
  for (uint32_t round = 0; round < 30; ++round) {
    CAPTURE(round);
    World world;
    Side& a = world.add();
    Side& b = world.add();
    Buffer at_a(a, 64, Access::remote_write);
    Buffer at_b(b, 64, Access::remote_write);
    world.connect(a, 1, b);
    for (uint32_t polls = 0; polls < round / 3; ++polls) a.poll();
    for (uint32_t polls = 0; polls < round % 3; ++polls) b.poll();
    world.connect(b, 0, a);
    for (uint32_t at = 0; at < 3; ++at) {
      REQUIRE(world.post([&] {
        return a.fabric->write_immediate(1, at_a.part(0, 8), at_b.remote(), at, kUnsignalled);
      }) == Posted::yes);
      REQUIRE(world.post([&] {
        return b.fabric->write_immediate(0, at_b.part(0, 8), at_a.remote(), at, kUnsignalled);
      }) == Posted::yes);
      a.fabric->submit();
      b.fabric->submit();
    }
    CHECK(world.until([&] { return a.arrived.size() == 3 && b.arrived.size() == 3; }));
    CHECK(a.lost.empty());
    CHECK(b.lost.empty());
  }
}

}  // namespace
}  // namespace copyrpc::conformance
