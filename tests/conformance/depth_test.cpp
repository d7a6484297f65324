// SPDX-License-Identifier: Apache-2.0
// Many peers, queues crossed many times, receivers that lag, and what is on its way when its
// connection ends.
#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/conformance/world.hpp"

namespace copyrpc::conformance {
namespace {

using Posted = Fabric::Posted;

constexpr uint32_t kPeerShift = 24;

/// One endpoint and `count` others, everyone connected with it: it knows them as 0.., they it as 0.
struct Star {
  World world;
  Side& hub = world.add();
  Buffer hub_memory{hub, 4096, Access::remote_write};
  std::vector<Side*> others;
  std::vector<std::unique_ptr<Buffer>> memories;

  explicit Star(uint32_t count) : world({.peers_max = 64, .posts_max = 16}) {
    for (PeerId peer = 0; peer < count; ++peer) {
      Side& other = world.add();
      others.push_back(&other);
      memories.push_back(std::make_unique<Buffer>(other, 4096, Access::remote_write));
      world.connect(hub, peer, other);
      world.connect(other, 0, hub);
    }
  }
};

/// From each peer 0, 1, 2, ...
bool each_in_order(const std::vector<uint32_t>& arrived, uint32_t peers, uint32_t posts) {
  std::vector<uint32_t> next(peers, 0);
  for (const uint32_t one : arrived) {
    const uint32_t peer = one >> kPeerShift;
    if (peer >= peers || (one & ((1U << kPeerShift) - 1)) != next[peer]) return false;
    ++next[peer];
  }
  return std::all_of(next.begin(), next.end(), [&](uint32_t one) { return one == posts; });
}

void talk_with(uint32_t peers, uint32_t posts) {
  Star star(peers);
  for (uint32_t at = 0; at < posts; ++at) {
    for (PeerId peer = 0; peer < peers; ++peer) {
      REQUIRE(star.world.post([&] {
        return star.hub.fabric->write_immediate(peer, star.hub_memory.part(0, 64),
                                                star.memories[peer]->remote(), at, kUnsignalled);
      }) == Posted::yes);
      REQUIRE(star.world.post([&] {
        return star.others[peer]->fabric->write_immediate(0, star.memories[peer]->part(0, 64),
                                                          star.hub_memory.remote(),
                                                          peer << kPeerShift | at, kUnsignalled);
      }) == Posted::yes);
      star.others[peer]->fabric->submit();
    }
    star.hub.fabric->submit();
    star.world.progress();
  }
  CHECK(star.world.until([&] { return star.hub.arrived.size() >= uint64_t{peers} * posts; }));
  CHECK(each_in_order(star.hub.arrived, peers, posts));
  for (const Side* other : star.others) {
    CHECK(star.world.until([&] { return other->arrived.size() >= posts; }));
    CHECK(each_in_order(other->arrived, 1, posts));
    CHECK(other->lost.empty());
  }
  CHECK(star.hub.lost.empty());
}

TEST_CASE("one endpoint talks with 1 peer, 2 and 64, both ways: each in order, nothing lost") {
  talk_with(1, 6'000);
  talk_with(2, 3'000);
  talk_with(64, 60);
}

TEST_CASE("a receiver that lags finds as many immediates as its queue has room for") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  const uint32_t room = b.fabric->limits().receive_entries;
  if (room == 0 || room > 16'384) {
    WARN("left out: this fabric has no receive queue, or a very long one");
    return;
  }
  Buffer from(a, 64, Access::local);
  Buffer to(b, 64, Access::remote_write);
  world.connect_pair(a, b);
  for (uint32_t round = 0; round < 3; ++round) {
    b.arrived.clear();
    a.ended.clear();
    for (uint32_t at = 0; at < room; ++at) {
      Posted posted = Posted::full;
      // Once they are connected only the sender makes progress.
      REQUIRE(world.until(
          [&] {
            posted = a.fabric->write_immediate(1, from.part(0, 8), to.remote(), at, at + 1);
            return posted != Posted::full;
          },
          round == 0 && at == 0 ? nullptr : &a));
      REQUIRE(posted == Posted::yes);
      a.fabric->submit();
    }
    REQUIRE(world.until([&] { return a.ended.size() == room; }, &a));
    CHECK(a.count(Completion::Kind::done, room) == 1);
    REQUIRE(world.until([&] { return b.arrived.size() >= room; }));
    for (uint32_t at = 0; at < room; ++at) REQUIRE(b.arrived[at] == at);
  }
  CHECK(a.lost.empty());
}

TEST_CASE("a peer that goes while the connection comes up") {
  if (World world; !world.keeps(&Transport::loss_untold) || !world.keeps(&Transport::loss_fatal))
    return;
  for (uint32_t polls = 0; polls < 24; ++polls) {
    CAPTURE(polls);
    World world;
    Side& a = world.add();
    Side& b = world.add();
    Buffer from(a, 64, Access::local);
    RemoteMemory target{};
    {
      const Buffer gone(b, 64, Access::remote_write);
      target = gone.remote();
    }
    world.connect(a, 1, b);
    for (uint32_t at = 0; at < polls; ++at) {
      a.poll();
      if (polls % 2 == 0) b.poll();
    }
    world.remove(b);
    uint64_t next = 1;
    CHECK(world.until([&] {
      const Posted posted = a.fabric->write_immediate(1, from.part(0, 8), target, 0, next);
      if (posted == Posted::yes) ++next;
      a.fabric->submit();
      return posted == Posted::down || a.has_lost(1);
    }));
    a.fabric->disconnect(1);
    CHECK(world.until([&] {
      for (uint64_t context = 1; context < next; ++context)
        if (a.ends(context) != 1) return false;
      return true;
    }));
    CHECK(a.lost.size() <= 1);
  }
}

TEST_CASE(
    "late writes of an old incarnation find its memory gone, and the new one is not touched") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  constexpr uint32_t kBytes = 65'536;
  Buffer from(a, kBytes, Access::local, std::byte{0xbb});
  Buffer to(b, kBytes, Access::remote_write);
  for (uint32_t life = 0; life < 10; ++life) {
    CAPTURE(life);
    a.ended.clear();
    world.connect_pair(a, b);
    REQUIRE(world.post([&] {
      return a.fabric->write_immediate(1, from.part(0, 8), to.remote(), 4711, kUnsignalled);
    }) == Posted::yes);
    a.fabric->submit();
    b.arrived.clear();
    REQUIRE(world.until([&] { return !b.arrived.empty(); }));
    uint32_t posted = 0;
    while (posted < 20 && a.fabric->write(1, from.all(), to.remote(), posted + 1) == Posted::yes)
      ++posted;
    a.fabric->submit();
    // The receiver ends it: first its memory, then the connection, then the memory is of others.
    for (uint32_t at = 0; at < life; ++at) world.transport().pass_time();
    to.deregister();
    b.fabric->disconnect(0);
    to.fill(std::byte{0x33});
    to.register_again(Access::remote_write);
    world.settle();
    CHECK(to.holds(std::byte{0x33}));
    a.fabric->disconnect(1);
    CHECK(world.until([&] {
      for (uint64_t context = 1; context <= posted; ++context)
        if (a.ends(context) != 1) return false;
      return true;
    }));
    CHECK(to.holds(std::byte{0x33}));
    a.lost.clear();
    b.lost.clear();
  }
}

}  // namespace
}  // namespace copyrpc::conformance
