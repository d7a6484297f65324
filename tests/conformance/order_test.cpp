// SPDX-License-Identifier: Apache-2.0
// Order (F1), completions (F3), and queues that are crossed many times.
#include <cstring>
#include <map>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "tests/conformance/world.hpp"

namespace copyrpc::conformance {
namespace {

using Posted = Fabric::Posted;

/// What a mixed stream does: post k fills cell `cell` with copies of k, the first `words` of it.
struct Step {
  uint32_t cell;
  uint32_t words;
  bool announced;
};

constexpr uint32_t kCells = 16;
constexpr uint32_t kCellWords = 9000;
constexpr uint32_t kSteps = 3000;  // more than three times any queue: 64 posts, 1,024 commands

std::vector<Step> mixed_steps(uint64_t seed) {
  copykv::Random random(seed);
  constexpr uint32_t kWords[] = {1, 1, 8, 25, 600, kCellWords};
  std::vector<Step> steps;
  for (uint32_t at = 0; at < kSteps; ++at)
    steps.push_back({static_cast<uint32_t>(random.below(kCells)),
                     kWords[random.below(std::size(kWords))], random.chance(0.3)});
  steps.back().announced = true;
  return steps;
}

uint64_t word_at(const std::byte* bytes, uint64_t index) {
  uint64_t word;
  std::memcpy(&word, bytes + index * 8, 8);
  return word;
}

/// The words that step `now` or an earlier one has written last hold that step's number or a later
/// one's.
bool holds_history(const std::vector<Step>& steps, uint32_t now, const std::byte* cells) {
  std::map<uint32_t, uint32_t> covered;  // words of each cell that a later step has written
  for (uint32_t back = now + 1; back-- > 0 && back + 200 > now;) {
    const Step& step = steps[back];
    const std::byte* cell = cells + uint64_t{step.cell} * kCellWords * 8;
    for (uint32_t word = covered[step.cell]; word < step.words; ++word)
      if (word_at(cell, word) < back + 1) return false;
    covered[step.cell] = std::max(covered[step.cell], step.words);
  }
  return true;
}

TEST_CASE("writes and immediates of all sizes take effect in the order of posting") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  // Each post has its own source, as long as it may be in flight.
  constexpr uint32_t kSources = 64;
  Buffer from(a, uint64_t{kSources} * kCellWords * 8, Access::local);
  Buffer to(b, uint64_t{kCells} * kCellWords * 8, Access::remote_write);
  world.connect_pair(a, b);
  const std::vector<Step> steps = mixed_steps(1);
  uint32_t wrong = 0;
  b.on_arrival = [&](uint32_t immediate) {
    if (!holds_history(steps, immediate, to.data())) ++wrong;
  };
  std::vector<uint32_t> announced;
  for (uint32_t at = 0; at < kSteps; ++at) {
    const Step& step = steps[at];
    const uint64_t source = uint64_t{at % kSources} * kCellWords * 8;
    if (at >= kSources) REQUIRE(world.until([&] { return a.ends(at + 1 - kSources) > 0; }));
    const uint64_t number = at + 1;
    for (uint32_t word = 0; word < step.words; ++word)
      std::memcpy(from.data() + source + word * 8, &number, 8);
    const LocalPart part = from.part(source, step.words * 8);
    const RemoteMemory target = to.remote().at(uint64_t{step.cell} * kCellWords * 8);
    REQUIRE(world.post([&] {
      return step.announced ? a.fabric->write_immediate(1, part, target, at, number)
                            : a.fabric->write(1, part, target, number);
    }) == Posted::yes);
    if (step.announced) announced.push_back(at);
    a.fabric->submit();
  }
  REQUIRE(world.until([&] { return b.arrived.size() == announced.size(); }));
  REQUIRE(world.until([&] { return a.ended.size() == kSteps; }));
  CHECK(wrong == 0);
  CHECK(b.arrived == announced);
  for (const Completion& one : a.ended) REQUIRE(one.kind == Completion::Kind::done);
}

TEST_CASE("posts that want no done have none, and the queue goes on") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  Buffer from(a, 64, Access::local);
  Buffer to(b, 64, Access::remote_write);
  world.connect_pair(a, b);
  constexpr uint32_t kPosts = 5000;
  for (uint32_t at = 0; at < kPosts; ++at) {
    const uint64_t context = at % 1000 == 999 ? at : kUnsignalled;
    REQUIRE(world.post([&] {
      return a.fabric->write_immediate(1, from.part(0, 8), to.remote(), at, context);
    }) == Posted::yes);
    a.fabric->submit();
  }
  REQUIRE(world.until([&] { return b.arrived.size() == kPosts && a.ended.size() == 5; }));
  world.settle();
  CHECK(a.ended.size() == 5);
  CHECK(a.ends(kUnsignalled) == 0);
  for (uint32_t at = 0; at < kPosts; ++at) REQUIRE(b.arrived[at] == at);
}

void many_to_one(uint32_t senders) {
  World world;
  Side& target = world.add();
  Buffer to(target, 64 * 64, Access::remote_write);
  std::vector<Side*> sides;
  std::vector<std::unique_ptr<Buffer>> sources;
  for (uint32_t sender = 0; sender < senders; ++sender) {
    sides.push_back(&world.add());
    sources.push_back(std::make_unique<Buffer>(*sides.back(), 64, Access::local));
    world.connect(*sides.back(), 0, target);
    if (sender % 2 == 0) world.connect(target, sender, *sides.back());  // one way and both ways
  }
  constexpr uint32_t kEach = 600;
  for (uint32_t at = 0; at < kEach; ++at) {
    for (uint32_t sender = 0; sender < senders; ++sender) {
      REQUIRE(world.post([&] {
        return sides[sender]->fabric->write_immediate(0, sources[sender]->part(0, 64),
                                                      to.remote().at(uint64_t{sender} * 64),
                                                      sender << 16 | at, kUnsignalled);
      }) == Posted::yes);
      sides[sender]->fabric->submit();
    }
  }
  REQUIRE(world.until([&] { return target.arrived.size() == uint64_t{kEach} * senders; }));
  std::vector<uint32_t> next(senders, 0);
  for (const uint32_t immediate : target.arrived) {
    REQUIRE((immediate >> 16) < senders);
    REQUIRE((immediate & 0xffff) == next[immediate >> 16]++);
  }
}

TEST_CASE("two peers write to one endpoint: each in its own order") {
  many_to_one(2);
}
TEST_CASE("eight peers write to one endpoint: each in its own order") {
  many_to_one(8);
}

TEST_CASE("both write at once") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  Buffer at_a(a, 4096, Access::remote_write);
  Buffer at_b(b, 4096, Access::remote_write);
  world.connect_pair(a, b);
  constexpr uint32_t kPosts = 2000;
  for (uint32_t at = 0; at < kPosts; ++at) {
    REQUIRE(world.post([&] {
      return a.fabric->write_immediate(1, at_a.part(0, 512), at_b.remote().at(2048), at, at + 1);
    }) == Posted::yes);
    REQUIRE(world.post([&] {
      return b.fabric->write_immediate(0, at_b.part(0, 512), at_a.remote().at(2048), at, at + 1);
    }) == Posted::yes);
    a.fabric->submit();
    b.fabric->submit();
  }
  REQUIRE(world.until([&] {
    return a.arrived.size() == kPosts && b.arrived.size() == kPosts && a.ended.size() == kPosts &&
           b.ended.size() == kPosts;
  }));
  CHECK(std::is_sorted(a.arrived.begin(), a.arrived.end()));
  CHECK(std::is_sorted(b.arrived.begin(), b.arrived.end()));
}

TEST_CASE("a full queue says so, loses nothing, and has room again") {
  World world;
  Side& a = world.add();
  Side& b = world.add();
  constexpr uint32_t kBytes = 65536;
  Buffer from(a, kBytes, Access::local);
  Buffer to(b, kBytes, Access::remote_write);
  world.connect_pair(a, b);
  REQUIRE(world.post([&] { return a.fabric->write_immediate(1, from.all(), to.remote(), 0, 1); }) ==
          Posted::yes);
  uint32_t posted = 1;
  for (uint32_t round = 0; round < 3; ++round) {
    // Nobody polls: sooner or later there is no room.
    bool full = false;
    for (uint32_t attempt = 0; attempt < 100'000 && !full; ++attempt) {
      const Posted answer =
          a.fabric->write_immediate(1, from.all(), to.remote(), posted, posted + 1);
      REQUIRE(answer != Posted::down);
      full = answer == Posted::full;
      posted += !full;
    }
    a.fabric->submit();
    CHECK(full);
    REQUIRE(world.until([&] { return b.arrived.size() == posted && a.ended.size() == posted; }));
  }
  for (uint32_t at = 0; at < posted; ++at) REQUIRE(b.arrived[at] == at);
}

}  // namespace
}  // namespace copyrpc::conformance
