// SPDX-License-Identifier: Apache-2.0
#include "shm/arena.hpp"

#include <iterator>
#include <map>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "tests/unit/shm/test_memory.hpp"

namespace copykv {
namespace {

using test::TestRegion;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kLargest = 16 * kMiB + 2048;

struct Live {
  uint64_t bytes;
  uint64_t stamp;
};

/// Keeps every live object in a map and its edges stamped, so that an overlap cannot stay unseen.
class Checked {
 public:
  explicit Checked(Region& region) : arena(region, kLargest) {}

  [[nodiscard]] Room add(uint64_t bytes) {
    const Allocation made = arena.allocate(bytes);
    if (made.room != Room::ok) return made.room;
    REQUIRE(made.offset % 8 == 0);
    REQUIRE(made.offset >= kArenaPageBytes);
    const uint64_t rounded = Arena::rounded_bytes(bytes);
    const auto after = live.lower_bound(made.offset);
    if (after != live.end()) REQUIRE(made.offset + rounded <= after->first);
    if (after != live.begin()) {
      const auto before = std::prev(after);
      REQUIRE(before->first + Arena::rounded_bytes(before->second.bytes) <= made.offset);
    }
    live[made.offset] = {bytes, ++stamps};
    first_word(made.offset) = stamps;
    last_word(made.offset, bytes) = stamps;
    used += rounded;
    return Room::ok;
  }

  void remove(Offset offset) {
    const Live object = live.at(offset);
    REQUIRE(first_word(offset) == object.stamp);
    REQUIRE(last_word(offset, object.bytes) == object.stamp);
    arena.free(offset);
    used -= Arena::rounded_bytes(object.bytes);
    live.erase(offset);
  }

  [[nodiscard]] Offset any(Random& random) const {
    auto at = live.lower_bound(random.below(live.rbegin()->first + 1));
    return at->first;
  }

  void check() const {
    REQUIRE(arena.used_bytes() == used);
    REQUIRE(arena.live_objects() == live.size());
    REQUIRE(arena.is_valid());
  }

  Arena arena;
  std::map<Offset, Live> live;
  uint64_t used = 0;

 private:
  uint64_t& first_word(Offset offset) { return *reinterpret_cast<uint64_t*>(arena.at(offset)); }
  uint64_t& last_word(Offset offset, uint64_t bytes) {
    return *reinterpret_cast<uint64_t*>(arena.at(offset + (Arena::rounded_bytes(bytes) - 8)));
  }
  uint64_t stamps = 0;
};

uint64_t random_size(Random& random) {
  switch (random.below(8)) {
    case 0:
      return 1 + random.below(40'000);
    case 1:
      return 1 + random.below(400'000);
    case 2:
      return random.chance(0.05) ? 1 + random.below(kLargest) : 64;
    default:
      return 1 + random.below(300);
  }
}

TEST_CASE("objects of one size class are tight", "[arena]") {
  TestRegion memory(8 * kMiB);
  for (const uint32_t bytes : {16U, 24U, 56U, 512U, 1024U, 8192U, 32768U}) {
    CHECK(Arena::rounded_bytes(bytes) == bytes);
    Arena arena(memory.region, kLargest);
    const Offset first = arena.allocate(bytes).offset;
    const Offset second = arena.allocate(bytes).offset;
    CHECK(second - first == bytes);
  }
  CHECK(Arena::rounded_bytes(57) == 64);
  CHECK(Arena::rounded_bytes(513) == 576);
  CHECK(Arena::rounded_bytes(32769) == 3 * kArenaPageBytes);
}

TEST_CASE("bucket-sized objects stand on cache lines", "[arena]") {
  TestRegion memory(8 * kMiB);
  Arena arena(memory.region, kLargest);
  for (int i = 0; i < 5000; ++i) REQUIRE(arena.allocate(64).offset % kCacheLineBytes == 0);
}

TEST_CASE("random allocations never overlap and always add up", "[arena]") {
  const uint64_t seed = GENERATE(as<uint64_t>{}, 1, 2, 3);
  TestRegion memory(48 * kMiB);
  Checked checked(memory.region);
  Random random(seed);
  uint64_t refused = 0;
  for (int step = 0; step < 60'000; ++step) {
    // Waves: mostly growing, then mostly shrinking.
    const bool grow = random.chance(step / 10'000 % 2 == 0 ? 0.8 : 0.4);
    if (grow || checked.live.empty()) {
      refused += checked.add(random_size(random)) == Room::ok ? 0 : 1;
    } else {
      checked.remove(checked.any(random));
    }
    if (step % 5'000 == 0) checked.check();
  }
  CHECK(refused > 0);  // the region was full at times
  while (!checked.live.empty()) checked.remove(checked.live.begin()->first);
  checked.check();
  CHECK(checked.arena.held_bytes() == 0);
  CHECK(checked.add(kLargest) == Room::ok);  // everything has coalesced
}

TEST_CASE("a full region serves again what was freed", "[arena]") {
  TestRegion memory(32 * kMiB);
  const uint64_t bytes = GENERATE(as<uint64_t>{}, 48, 30'000, 100'000, 5'000'000);
  Checked checked(memory.region);
  while (checked.add(bytes) == Room::ok) {
  }
  const size_t full = checked.live.size();
  REQUIRE(full > 1);
  std::vector<Offset> freed;
  for (auto at = checked.live.begin(); at != checked.live.end(); ++at) {
    if (freed.size() % 2 == 0) freed.push_back(at->first);
  }
  for (const Offset offset : freed) checked.remove(offset);
  while (checked.add(bytes) == Room::ok) {
  }
  CHECK(checked.live.size() == full);
  checked.check();
}

TEST_CASE("what is not populated yet is waited for, what is exhausted is refused", "[arena]") {
  TestRegion memory(8 * kMiB, 2 * kMiB);
  Checked checked(memory.region);
  CHECK(checked.add(3 * kMiB) == Room::not_populated_yet);
  CHECK(memory.region.wanted_bytes >= 3 * kMiB);
  const uint64_t wanted = memory.region.wanted_bytes;
  CHECK(checked.add(kMiB) == Room::ok);
  CHECK(memory.region.wanted_bytes == wanted);  // the large request is still announced
  memory.region.populated_bytes = 6 * kMiB;
  CHECK(checked.add(3 * kMiB) == Room::ok);
  memory.region.exhausted = 1;
  CHECK(checked.add(3 * kMiB) == Room::no_space);
  CHECK(checked.add(kMiB) == Room::ok);
  CHECK(checked.add(16 * kMiB) == Room::no_space);
  checked.check();
}

}  // namespace
}  // namespace copykv
