// SPDX-License-Identifier: Apache-2.0
// Peers that are processes, and are killed or stopped in the middle of it.
#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "tests/conformance/peer_process.hpp"
#include "tests/conformance/world.hpp"

namespace copyrpc::conformance {
namespace {

using Posted = Fabric::Posted;

constexpr uint32_t kBytes = 32'768;
constexpr uint64_t kNoticeNsMax = copykv::kNanosPerSecond;

uint64_t now_ns() {
  return copykv::SystemClock().now_ns();
}

/// Posts to `peer` until there is no room, with contexts from `next` on; returns the next one.
uint64_t post_until_full(Side& side, PeerId peer, const Buffer& from, const RemoteMemory& to,
                         uint64_t next) {
  while (side.fabric->write_immediate(peer, from.part(0, kBytes), to, 0, next) == Posted::yes)
    ++next;
  side.fabric->submit();
  return next;
}

bool all_ended_once(const Side& side, uint64_t first, uint64_t end) {
  for (uint64_t context = first; context < end; ++context)
    if (side.ends(context) != 1) return false;
  return true;
}

/// This process, one peer of it that stays well, and memory for both.
struct Survivors {
  World world;
  Side& side = world.add();
  Side& friendly = world.add();
  Buffer from{side, kPeerMemoryBytes, Access::local};
  Buffer to{side, kPeerMemoryBytes, Access::remote_write};
  Buffer friendly_memory{friendly, kBytes, Access::remote_write};

  Survivors() { world.connect(side, 2, friendly); }

  void connect(PeerProcess& peer) {
    const auto connected = side.fabric->connect(1, peer.card().text());
    REQUIRE(connected);
    peer.start_writing(make_card(*side.fabric, to.remote()));
    // Both directions are under load.
    const size_t before = side.arrived.size();
    REQUIRE(world.until([&] { return side.arrived.size() > before + 50; }));
    REQUIRE(world.post([&] {
      return side.fabric->write_immediate(1, from.part(0, kBytes), peer.card().memory, 0,
                                          kUnsignalled);
    }) == Posted::yes);
  }
  /// The friendly peer is served as if nothing had happened.
  void expect_friendly() {
    const size_t before = friendly.arrived.size();
    REQUIRE(world.post([&] {
      return side.fabric->write_immediate(2, from.part(0, 8), friendly_memory.remote(), 1,
                                          kUnsignalled);
    }) == Posted::yes);
    side.fabric->submit();
    REQUIRE(world.until([&] { return friendly.arrived.size() > before; }));
    CHECK_FALSE(side.has_lost(2));
  }
};

TEST_CASE("a process that is killed under load is noticed, and a new one takes its number") {
  if (World world; !world.transport().is_real || !world.keeps(&Transport::one_process) ||
                   !world.keeps(&Transport::loss_untold) || !world.keeps(&Transport::loss_fatal))
    return;
  Survivors survivors;
  Side& side = survivors.side;
  uint64_t next = 1;
  for (uint32_t life = 0; life < 6; ++life) {
    CAPTURE(life);
    PeerProcess peer(transport_under_test_name());
    survivors.connect(peer);
    const uint64_t first = next;
    if (life % 2 == 0) next = post_until_full(side, 1, survivors.from, peer.card().memory, next);
    peer.kill();
    if (life % 4 < 2) next = post_until_full(side, 1, survivors.from, peer.card().memory, next);
    const uint64_t killed_ns = now_ns();
    REQUIRE(survivors.world.until([&] { return side.has_lost(1); }));
    CHECK(now_ns() - killed_ns < kNoticeNsMax);
    CHECK(side.lost.size() == 1);
    CHECK(side.fabric->write(1, survivors.from.part(0, 8), peer.card().memory, 1) == Posted::down);
    survivors.expect_friendly();
    side.fabric->disconnect(1);
    CHECK(survivors.world.until([&] { return all_ended_once(side, first, next); }));
    survivors.expect_friendly();
    CHECK(side.lost.size() == 1);
    side.lost.clear();
  }
}

TEST_CASE("a process that is stopped holds nobody up, and hanging up ends what it was sent") {
  if (World world; !world.transport().is_real || !world.keeps(&Transport::one_process) ||
                   !world.keeps(&Transport::loss_fatal))
    return;
  Survivors survivors;
  Side& side = survivors.side;
  PeerProcess peer(transport_under_test_name());
  survivors.connect(peer);
  peer.stop();
  uint64_t next = 1;
  // Until the kernel's buffers and the queue are full.
  const uint64_t start_ns = now_ns();
  while (now_ns() - start_ns < 100 * copykv::kNanosPerMilli) {
    next = post_until_full(side, 1, survivors.from, peer.card().memory, next);
    survivors.world.progress();
  }
  CHECK_FALSE(all_ended_once(side, 1, next));
  survivors.expect_friendly();
  side.fabric->disconnect(1);
  CHECK(survivors.world.until([&] { return all_ended_once(side, 1, next); }));
  survivors.expect_friendly();
}

}  // namespace
}  // namespace copyrpc::conformance
