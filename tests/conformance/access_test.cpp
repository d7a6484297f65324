// SPDX-License-Identifier: Apache-2.0
// Accesses that must not be (F5, F7): nothing changes, the target lives and serves others.
#include <catch2/catch.hpp>

#include "tests/conformance/world.hpp"

namespace copyrpc::conformance {
namespace {

using Posted = Fabric::Posted;

/// A victim with some memory, a peer that misbehaves and a peer that does not.
struct Scene {
  World world;
  Side& victim = world.add();
  Side& rogue = world.add();
  Side& honest = world.add();
  Buffer source{rogue, 8192, Access::local, std::byte{0xbb}};
  Buffer other_source{honest, 64, Access::local, std::byte{0xcc}};
  // The target lies between two fences that are this process's memory, but not registered.
  std::vector<std::byte> block = std::vector<std::byte>(3 * 4096, std::byte{0xaa});
  Memory target{};
  Buffer other_target{victim, 64, Access::remote_write};

  explicit Scene(Access access) {
    auto memory = victim.fabric->register_memory(block.data() + 4096, 4096, access);
    REQUIRE(memory);
    target = *memory;
    world.connect(rogue, 0, victim);
    world.connect(honest, 0, victim);
    say_hello(0);
    REQUIRE(world.post([&] {
      return rogue.fabric->write_immediate(0, source.part(0, 8), other_target.remote(), 0, 0);
    }) == Posted::yes);
    rogue.fabric->submit();
    REQUIRE(world.until([&] { return victim.arrived.size() == 2; }));
  }
  ~Scene() {
    if (target.registered()) victim.fabric->deregister(target);
  }

  void say_hello(uint32_t number) {
    REQUIRE(world.post([&] {
      return honest.fabric->write_immediate(0, other_source.part(0, 64), other_target.remote(),
                                            number, number + 1);
    }) == Posted::yes);
    honest.fabric->submit();
  }
  /// The post has failed or the connection is down (where the fabric can tell), the memory is as it
  /// was, nothing is told to the victim, and it goes on serving the other.
  void expect_refused(const std::function<Posted()>& attempt, uint64_t context) {
    victim.arrived.clear();
    if (world.post(attempt) == Posted::yes) {
      rogue.fabric->submit();
      if (world.transport().refusals_untold.empty())
        CHECK(world.until([&] {
          return rogue.count(Completion::Kind::failed, context) > 0 || rogue.has_lost(0);
        }));
    }
    world.settle();
    CHECK(victim.arrived.empty());
    for (const std::byte one : block) REQUIRE(one == std::byte{0xaa});
    say_hello(5);
    REQUIRE(world.until([&] { return !victim.arrived.empty(); }));
    CHECK(victim.arrived == std::vector<uint32_t>{5});
    CHECK(honest.lost.empty());
  }
};

TEST_CASE("a key that was never given out opens nothing") {
  for (const uint64_t difference : {1ULL, 1ULL << 40, ~0ULL}) {
    Scene scene(Access::remote_read_write);
    RemoteMemory wrong = scene.target.remote;
    wrong.key ^= difference;
    scene.expect_refused(
        [&] {
          return scene.rogue.fabric->write_immediate(0, scene.source.part(0, 64), wrong, 1, 77);
        },
        77);
  }
}

TEST_CASE("keys are not small numbers") {
  World world;
  if (!world.keeps(&Transport::keys_counted)) return;
  Side& side = world.add();
  for (uint32_t round = 0; round < 4; ++round) {
    const Buffer buffer(side, 4096, Access::remote_write);
    CHECK((buffer.remote().key > 1'000'000 || !world.transport().is_real));
  }
}

TEST_CASE("a write that leaves the registered memory changes nothing") {
  struct Bounds {
    int64_t offset;
    uint32_t bytes;
  };
  for (const Bounds bounds : {Bounds{4096, 8}, Bounds{4092, 8}, Bounds{0, 4097}, Bounds{-8, 8},
                              Bounds{-4096, 8192}, Bounds{4089, 8}}) {
    CAPTURE(bounds.offset, bounds.bytes);
    Scene scene(Access::remote_read_write);
    RemoteMemory to = scene.target.remote;
    to.address += static_cast<uint64_t>(bounds.offset);
    to.bytes = bounds.bytes;
    scene.expect_refused(
        [&] {
          return scene.rogue.fabric->write_immediate(0, scene.source.part(0, bounds.bytes), to, 1,
                                                     77);
        },
        77);
  }
}

TEST_CASE("a plain write out of bounds, and one with a wrong key") {
  for (const bool wrong_key : {false, true}) {
    Scene scene(Access::remote_write);
    RemoteMemory to = scene.target.remote;
    if (wrong_key)
      ++to.key;
    else
      to.address += 4095;
    scene.expect_refused(
        [&] { return scene.rogue.fabric->write(0, scene.source.part(0, 64), to, 77); }, 77);
  }
}

TEST_CASE("memory that may only be written cannot be read, nor what lies beside it") {
  for (const uint64_t offset : {uint64_t{0}, uint64_t{4090}}) {
    Scene scene(offset == 0 ? Access::remote_write : Access::remote_read_write);
    RemoteMemory from = scene.target.remote;
    from.address += offset;
    scene.expect_refused(
        [&] { return scene.rogue.fabric->read(0, scene.source.part(0, 64), from, 77); }, 77);
    CHECK(scene.source.holds(std::byte{0xbb}));
  }
}

TEST_CASE("memory that is no longer registered is not touched") {
  for (const bool reading : {false, true}) {
    Scene scene(Access::remote_read_write);
    const RemoteMemory old = scene.target.remote;
    scene.victim.fabric->deregister(scene.target);
    scene.expect_refused(
        [&] {
          return reading
                     ? scene.rogue.fabric->read(0, scene.source.part(0, 64), old, 77)
                     : scene.rogue.fabric->write_immediate(0, scene.source.part(0, 64), old, 1, 77);
        },
        77);
  }
}

TEST_CASE("the same memory registered again has another key, and the old one is dead") {
  Scene scene(Access::remote_read_write);
  const RemoteMemory old = scene.target.remote;
  scene.victim.fabric->deregister(scene.target);
  auto again = scene.victim.fabric->register_memory(scene.block.data() + 4096, 4096,
                                                    Access::remote_read_write);
  REQUIRE(again);
  scene.target = *again;
  CHECK(scene.target.remote.key != old.key);
  scene.expect_refused(
      [&] { return scene.rogue.fabric->write_immediate(0, scene.source.part(0, 64), old, 1, 77); },
      77);
}

TEST_CASE("a message that is landing when its memory is given up and its connection closed stops") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  constexpr uint32_t kBytes = 16 * 1024 * 1024;
  Buffer from(a, kBytes, Access::local, std::byte{0xbb});
  Buffer to(b, kBytes, Access::remote_write, std::byte{0xaa});
  world.connect_pair(a, b);
  for (uint32_t round = 0; round < 3; ++round) {
    to.fill(std::byte{0xaa});
    REQUIRE(world.post([&] {
      return a.fabric->write_immediate(1, from.all(), to.remote(), 1, 1);
    }) == Posted::yes);
    a.fabric->submit();
    REQUIRE(world.until([&] { return to.data()[0] != std::byte{0xaa}; }));
    if (to.data()[kBytes - 1] != std::byte{0xaa}) return;  // it lands in one piece here
    to.deregister();
    b.fabric->disconnect(0);
    to.fill(std::byte{0x11});
    world.settle();
    CHECK(to.holds(std::byte{0x11}));
    CHECK(b.arrived.empty());
    a.fabric->disconnect(1);
    CHECK(world.until([&] { return a.ends(1) == 1; }));
    a.ended.clear();
    to.register_again(Access::remote_write);
    world.connect_pair(a, b);
  }
}

}  // namespace
}  // namespace copyrpc::conformance
