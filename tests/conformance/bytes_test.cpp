// SPDX-License-Identifier: Apache-2.0
// The bytes themselves: of every size, visible when they are announced (F1), whole, and nothing
// beside them.
#include <catch2/catch.hpp>

#include "tests/conformance/world.hpp"

namespace copyrpc::conformance {
namespace {

using Posted = Fabric::Posted;

// Around words, lines, what a request can carry inline, and packets of all sizes.
constexpr uint32_t kSizes[] = {1,    7,    8,    9,    43,   44,    45,    63,    64,    65,   127,
                               128,  129,  171,  172,  173,  191,   192,   193,   219,   220,  221,
                               235,  236,  237,  255,  256,  257,   511,   512,   513,   1023, 1024,
                               1025, 1447, 1448, 1449, 1500, 2047,  2048,  2049,  4095,  4096, 4097,
                               8191, 8192, 8193, 9000, 9001, 12289, 16384, 32768, 65535, 65536};
constexpr uint32_t kMaxBytes = 65536;
constexpr uint32_t kLargeBytes[] = {1'200'000, 16 * 1024 * 1024};

TEST_CASE("an address is text for a bootstrap: short, and refused when it is not one") {
  World world;
  Side& side = world.add();
  const std::string address = side.fabric->address();
  CHECK_FALSE(address.empty());
  CHECK(address.size() <= 128);
  for (const std::string& wrong : {std::string(), std::string("?"), address.substr(1)}) {
    const auto connected = side.fabric->connect(3, wrong);
    CHECK_FALSE(connected);
    CHECK_FALSE(connected.error.empty());
  }
}

TEST_CASE("limits are usable") {
  World world;
  const FabricLimits& limits = world.add().fabric->limits();
  CHECK(limits.peers_max >= 16);
  CHECK(limits.posts_max >= 1);
  CHECK(limits.transfer_bytes_max >= kLargeBytes[1]);
}

TEST_CASE("every byte of a write is there when its immediate is polled") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  Buffer from(a, kMaxBytes, Access::local);
  Buffer to(b, kMaxBytes + 64, Access::remote_write);
  world.connect_pair(a, b);
  for (const uint32_t bytes : kSizes) {
    CAPTURE(bytes);
    from.fill_pattern(bytes);
    to.fill(std::byte{0xee});
    bool whole = false;
    b.on_arrival = [&](uint32_t immediate) {
      whole = immediate == bytes && to.holds_pattern(bytes, bytes);
    };
    REQUIRE(world.post([&] {
      return a.fabric->write_immediate(1, from.part(0, bytes), to.remote(), bytes, bytes);
    }) == Posted::yes);
    a.fabric->submit();
    b.arrived.clear();
    REQUIRE(world.until([&] { return !b.arrived.empty() && a.ends(bytes) > 0; }));
    CHECK(whole);
    CHECK(to.data()[bytes] == std::byte{0xee});
    CHECK(a.count(Completion::Kind::done, bytes) == 1);
  }
}

TEST_CASE("a read brings the same bytes") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  Buffer into(a, kMaxBytes + 64, Access::local);
  Buffer from(b, kMaxBytes, Access::remote_read_write);
  world.connect_pair(a, b);
  for (const uint32_t bytes : kSizes) {
    CAPTURE(bytes);
    from.fill_pattern(bytes);
    into.fill(std::byte{0xee});
    REQUIRE(world.post([&] {
      return a.fabric->read(1, into.part(0, bytes), from.remote(), bytes);
    }) == Posted::yes);
    a.fabric->submit();
    REQUIRE(world.until([&] { return a.ends(bytes) > 0; }));
    CHECK(a.count(Completion::Kind::done, bytes) == 1);
    CHECK(into.holds_pattern(bytes, bytes));
    CHECK(into.data()[bytes] == std::byte{0xee});
  }
}

TEST_CASE("large values in one piece, both ways") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  world.connect_pair(a, b);
  for (const uint32_t bytes : kLargeBytes) {
    CAPTURE(bytes);
    Buffer mine(a, bytes, Access::remote_read_write);
    Buffer theirs(b, bytes, Access::remote_read_write);
    mine.fill_pattern(bytes);
    REQUIRE(world.post([&] {
      return a.fabric->write_immediate(1, mine.all(), theirs.remote(), bytes, bytes);
    }) == Posted::yes);
    a.fabric->submit();
    REQUIRE(world.until([&] { return !b.arrived.empty() && a.ends(bytes) > 0; }));
    CHECK(theirs.holds_pattern(bytes, bytes));
    b.arrived.clear();

    mine.fill({});
    REQUIRE(world.post([&] { return a.fabric->read(1, mine.all(), theirs.remote(), bytes + 1); }) ==
            Posted::yes);
    a.fabric->submit();
    REQUIRE(world.until([&] { return a.ends(bytes + 1) > 0; }));
    CHECK(a.count(Completion::Kind::done, bytes + 1) == 1);
    CHECK(mine.holds_pattern(bytes, bytes));
  }
}

TEST_CASE("parts of memory: offsets at both ends are kept") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  Buffer from(a, 4096, Access::local);
  Buffer to(b, 4096, Access::remote_read_write, std::byte{0xee});
  world.connect_pair(a, b);
  from.fill_pattern(7);
  REQUIRE(world.post([&] {
    return a.fabric->write_immediate(1, from.part(100, 200), to.remote().at(3000), 1, 1);
  }) == Posted::yes);
  a.fabric->submit();
  REQUIRE(world.until([&] { return !b.arrived.empty(); }));
  for (uint32_t at = 0; at < 4096; ++at) {
    const bool written = at >= 3000 && at < 3200;
    REQUIRE(to.data()[at] == (written ? from.data()[at - 2900] : std::byte{0xee}));
  }
}

}  // namespace
}  // namespace copyrpc::conformance
