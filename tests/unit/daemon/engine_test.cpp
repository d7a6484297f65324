// SPDX-License-Identifier: Apache-2.0
// What the engine answers: order within a lane, groups, every operation, bad requests, time.
// Whoever calls turn() is the daemon thread, so each test sees each turn.
#include <fmt/format.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "sim/in_process.hpp"
#include "tests/unit/daemon/raw_lane.hpp"

using namespace copykv;
using sim::InProcessDaemon;
using test::RawLane;
using test::run;
using test::turn_until_answered;

namespace {

constexpr SegmentGeometry kDeep{0, 1, 64, 8192, 1U << 20};

uint64_t sum_of(const uint64_t (&counters)[16]) {
  uint64_t sum = 0;
  for (const uint64_t counter : counters) sum += counter;
  return sum;
}

/// What a client with its own eyes expects of each of its operations.
class Model {
 public:
  struct Expected {
    Status status;
    std::string value;
  };
  Expected get(const std::string& key) const {
    const auto at = items_.find(key);
    return at == items_.end() ? Expected{Status::not_found, {}} : Expected{Status::ok, at->second};
  }
  Expected put(const std::string& key, const std::string& value, PutOptions::When when) {
    const bool present = items_.count(key) > 0;
    const bool holds =
        when == PutOptions::When::always || (when == PutOptions::When::if_present) == present;
    if (!holds) return {Status::condition_failed, {}};
    items_[key] = value;
    return {Status::ok, {}};
  }
  Expected del(const std::string& key) {
    return {items_.erase(key) > 0 ? Status::ok : Status::not_found, {}};
  }
  Expected exists(const std::string& key) const { return {get(key).status, {}}; }

 private:
  std::map<std::string, std::string> items_;
};

}  // namespace

TEST_CASE("requests of one lane see each other in ring order, whatever their sizes") {
  InProcessDaemon daemon({.memory_bytes = 32U << 20});
  const auto seat = daemon.attach(kDeep);
  Client client = daemon.client(*seat);
  Model model;
  Random random(11);
  std::vector<Model::Expected> expected;
  std::array<Completion, 64> completions;
  uint64_t checked = 0;
  while (checked < 20'000) {
    while (true) {
      const std::string key = fmt::format("{:0{}}", random.below(6), random.below(2) == 0 ? 8 : 40);
      const uint64_t what = random.below(100);
      Status status;
      Model::Expected next;
      Model after = model;
      if (what < 50) {
        status = client.submit_get(key, expected.size());
        next = after.get(key);
      } else if (what < 85) {
        const uint64_t size_class = random.below(40);
        const uint64_t bytes = random.below(size_class == 0 ? 8100 : size_class < 5 ? 3000 : 41);
        const std::string value(bytes, static_cast<char>('a' + random.below(26)));
        const auto when = static_cast<PutOptions::When>(random.below(3));
        status = client.submit_put(key, value, expected.size(), {.when = when});
        next = after.put(key, value, when);
      } else if (what < 95) {
        status = client.submit_del(key, expected.size());
        next = after.del(key);
      } else {
        status = client.submit_exists(key, expected.size());
        next = after.exists(key);
      }
      if (status == Status::would_block) break;
      REQUIRE(status == Status::ok);
      model = std::move(after);
      expected.push_back(std::move(next));
      if (random.below(20) == 0) break;
    }
    (void)daemon.turn();
    REQUIRE(daemon.engine().is_valid());
    const size_t taken = client.poll(completions);
    for (size_t index = 0; index < taken; ++index, ++checked) {
      const Completion& done = completions[index];
      REQUIRE(done.tag == checked);
      REQUIRE(done.result.status == expected[done.tag].status);
      REQUIRE(done.result.value == expected[done.tag].value);
    }
  }
  daemon.settle();
  REQUIRE(daemon.store().is_valid());
  // Groups of several requests are what this test is about.
  REQUIRE(daemon.block().requests > 4 * daemon.block().groups);
  REQUIRE(sum_of(daemon.block().by_op) == daemon.block().requests);
}

TEST_CASE("a full ring is served in groups of 16 within one turn") {
  InProcessDaemon daemon({});
  const auto seat = daemon.attach(kDeep);
  RawLane lane(*seat);
  daemon.settle();
  for (uint32_t index = 0; index < 64; ++index) (void)lane.send(Op::put, "k", "value");
  // One lane is looked at once a turn, up to a group: no client can hold the daemon for longer.
  REQUIRE(daemon.turn() == 16);
  REQUIRE(lane.answered(15));
  REQUIRE_FALSE(lane.answered(16));
  daemon.settle();
  for (uint32_t index = 0; index < 64; ++index) REQUIRE(lane.status(index) == Status::ok);
  REQUIRE(daemon.block().groups == 4);
}

TEST_CASE("bad requests are answered for what they are, and the lane goes on") {
  InProcessDaemon daemon({});
  const auto seat = daemon.attach({0, 1, 4, 4096, 0});
  RawLane lane(*seat);
  const auto raw = [&](uint8_t op, uint8_t mode, uint16_t key_bytes) {
    const uint32_t slot = lane.next();
    lane.publish_head({lane.lap(), op, mode, key_bytes});
    REQUIRE(turn_until_answered(daemon, lane, slot));
    return lane.status(slot);
  };
  CHECK(raw(0, 0, 8) == Status::unsupported);
  CHECK(raw(9, 0, 8) == Status::unsupported);
  CHECK(raw(255, 255, 65535) == Status::unsupported);
  CHECK(raw(2, 0x10, 8) == Status::bad_request);
  CHECK(raw(1, 4, 8) == Status::bad_request);
  CHECK(raw(1, 3, 8) == Status::bad_request);
  CHECK(raw(1, 0, 0) == Status::invalid_key);
  CHECK(raw(1, 1, 1025) == Status::invalid_key);
  CHECK(run(daemon, lane, Op::put, "k", "v") == Status::ok);
  REQUIRE(daemon.block().by_status[static_cast<uint8_t>(Status::bad_request)] == 3);
  REQUIRE(daemon.store().counters().items == 1);
}

TEST_CASE("each operation answers what the protocol says") {
  InProcessDaemon daemon({});
  const auto seat = daemon.attach({0, 1, 4, 4096, 4096});
  RawLane lane(*seat);
  const auto version_of = [&](uint32_t slot) { return lane.response(slot).version; };
  const auto ask = [&](Op op, std::string_view key = {}, std::string_view value = {},
                       const test::Fields& fields = {}) {
    const uint32_t slot = lane.send(op, key, value, fields);
    REQUIRE(turn_until_answered(daemon, lane, slot));
    return slot;
  };

  SECTION("put, get, exists, del") {
    uint32_t slot = ask(Op::get, "k");
    CHECK(lane.status(slot) == Status::not_found);
    CHECK(version_of(slot) == 0);
    slot = ask(Op::put, "k", "value", {.user_flags = 77});
    CHECK(lane.status(slot) == Status::ok);
    const uint64_t version = version_of(slot);
    CHECK(version > 0);
    slot = ask(Op::get, "k");
    CHECK(lane.value(slot) == "value");
    CHECK(lane.response(slot).user_flags == 77);
    CHECK(version_of(slot) == version);
    slot = ask(Op::exists, "k");
    CHECK(lane.status(slot) == Status::ok);
    CHECK(lane.response(slot).value_bytes == 5);
    CHECK(version_of(slot) == version);
    slot = ask(Op::put, "k", "other");
    CHECK(version_of(slot) > version);
    CHECK(lane.status(ask(Op::del, "k")) == Status::ok);
    CHECK(lane.status(ask(Op::del, "k")) == Status::not_found);
    CHECK(lane.status(ask(Op::exists, "k")) == Status::not_found);
  }
  SECTION("conditions name the version that stands") {
    uint32_t slot = ask(Op::put, "k", "1", {.condition = Condition::if_present});
    CHECK(lane.status(slot) == Status::condition_failed);
    CHECK(version_of(slot) == 0);
    slot = ask(Op::put, "k", "1", {.condition = Condition::if_absent});
    CHECK(lane.status(slot) == Status::ok);
    const uint64_t version = version_of(slot);
    slot = ask(Op::put, "k", "2", {.condition = Condition::if_absent});
    CHECK(lane.status(slot) == Status::condition_failed);
    CHECK(version_of(slot) == version);
    slot = ask(Op::put, "k", "2", {.condition = Condition::if_version, .argument = version + 1});
    CHECK(lane.status(slot) == Status::condition_failed);
    slot = ask(Op::put, "k", "2", {.condition = Condition::if_version, .argument = version});
    CHECK(lane.status(slot) == Status::ok);
    CHECK(lane.value(ask(Op::get, "k")) == "2");
  }
  SECTION("add") {
    const auto sum = [&](uint32_t slot) {
      return static_cast<int64_t>(lane.response(slot).data[0]);
    };
    const auto add = [&](int64_t delta) {
      return ask(Op::add, "n", {}, {.argument = static_cast<uint64_t>(delta)});
    };
    CHECK(sum(add(5)) == 5);
    CHECK(sum(add(-12)) == -7);
    CHECK(lane.value(ask(Op::get, "n")) == "-7");
    (void)ask(Op::put, "n", "9223372036854775807");
    CHECK(lane.status(add(1)) == Status::not_a_number);
    (void)ask(Op::put, "n", "seven");
    CHECK(lane.status(add(1)) == Status::not_a_number);
    CHECK(lane.value(ask(Op::get, "n")) == "seven");
  }
  SECTION("keys, a page at a time, and ping") {
    CHECK(lane.status(ask(Op::ping)) == Status::ok);
    std::map<std::string, uint32_t> seen;
    for (uint32_t index = 0; index < 500; ++index) {
      REQUIRE(lane.status(ask(Op::put, fmt::format("key-{}", index), "v")) == Status::ok);
    }
    uint64_t cursor = 0;
    uint32_t pages = 0;
    do {
      const uint32_t slot = ask(Op::keys, {}, {}, {.argument = cursor});
      REQUIRE(lane.status(slot) == Status::ok);
      const std::string page = lane.value(slot);
      for (size_t at = 0; at < page.size();) {
        uint16_t key_bytes;
        std::memcpy(&key_bytes, &page[at], 2);
        ++seen[page.substr(at + 2, key_bytes)];
        at += 2U + key_bytes;
      }
      cursor = version_of(slot);
      ++pages;
    } while (cursor != 0 && pages < 1'000);
    CHECK(seen.size() == 500);
    for (const auto& [key, times] : seen) CHECK(times == 1);
    CHECK(pages > 1);
  }
}

TEST_CASE("a value over the daemon's limit is refused, also where it fits the line") {
  InProcessDaemon daemon({.value_bytes_max = 16});
  const auto seat = daemon.attach({0, 1, 4, 4096, 0});
  RawLane lane(*seat);
  CHECK(run(daemon, lane, Op::put, "k", std::string(16, 'v')) == Status::ok);
  CHECK(run(daemon, lane, Op::put, "k", std::string(17, 'w')) == Status::value_too_large);
  CHECK(run(daemon, lane, Op::put, "k", std::string(17, 'w'), {.placement = Placement::page}) ==
        Status::value_too_large);
  CHECK(run(daemon, lane, Op::exists, "k") == Status::ok);
  CHECK(lane.response((lane.next() + 3) % 4).value_bytes == 16);
}

TEST_CASE("values stand in the line up to 40 bytes, then in the page") {
  InProcessDaemon daemon({});
  const auto seat = daemon.attach({0, 1, 4, 4096, 0});
  RawLane lane(*seat);
  for (const uint32_t bytes : {0U, 1U, 24U, 39U, 40U, 41U, 48U, 1000U, 4088U}) {
    const std::string value(bytes, 'v');
    REQUIRE(run(daemon, lane, Op::put, "k", value, {.placement = Placement::page}) == Status::ok);
    const uint32_t slot = lane.send(Op::get, "k");
    REQUIRE(turn_until_answered(daemon, lane, slot));
    const Placement expected = bytes <= 40 ? Placement::line : Placement::page;
    CHECK(response_placement(lane.response(slot).head) == expected);
    CHECK(lane.value(slot) == value);
  }
}

TEST_CASE("items end when their time is over, by the given clock") {
  ManualClock clock(5 * kNanosPerSecond);
  InProcessDaemon daemon({.clock = &clock});
  const auto seat = daemon.attach({0, 1, 4, 4096, 0});
  RawLane lane(*seat);
  REQUIRE(run(daemon, lane, Op::put, "short", "v", {.ttl_ms = 100}) == Status::ok);
  REQUIRE(run(daemon, lane, Op::put, "long", "v", {.ttl_ms = 100}) == Status::ok);
  REQUIRE(run(daemon, lane, Op::put, "ever", "v") == Status::ok);
  clock.advance_ns(99 * kNanosPerMilli);
  REQUIRE(run(daemon, lane, Op::get, "short") == Status::ok);
  REQUIRE(run(daemon, lane, Op::touch, "long", {}, {.ttl_ms = 1'000}) == Status::ok);
  clock.advance_ns(kNanosPerMilli);
  REQUIRE(run(daemon, lane, Op::get, "short") == Status::not_found);
  REQUIRE(run(daemon, lane, Op::touch, "short", {}, {.ttl_ms = 5}) == Status::not_found);
  REQUIRE(run(daemon, lane, Op::get, "long") == Status::ok);
  REQUIRE(run(daemon, lane, Op::touch, "long") == Status::ok);  // from now on for ever
  clock.advance_ns(1'000 * kNanosPerSecond);
  REQUIRE(run(daemon, lane, Op::get, "long") == Status::ok);
  REQUIRE(run(daemon, lane, Op::get, "ever") == Status::ok);

  // What nobody asks for is dropped by housekeeping.
  for (uint32_t index = 0; index < 100; ++index) {
    REQUIRE(run(daemon, lane, Op::put, fmt::format("k{}", index), "v", {.ttl_ms = 1}) ==
            Status::ok);
  }
  clock.advance_ns(2 * kNanosPerMilli);
  REQUIRE(daemon.store().counters().items == 102);
  for (uint32_t round = 0; round < 10'000 && daemon.store().counters().items > 2; ++round) {
    daemon.engine().tick();
  }
  REQUIRE(daemon.store().counters().items == 2);
  REQUIRE(daemon.block().expired >= 100);
  REQUIRE(daemon.store().is_valid());
}

TEST_CASE("a key of another daemon of the rank is refused") {
  InProcessDaemon daemon({.daemon_count = 2});
  daemon.rank().partition_owner[partition_of(hash_key("theirs"))] = 1;
  REQUIRE(partition_of(hash_key("theirs")) != partition_of(hash_key("ours")));
  const auto seat = daemon.attach({0, 1, 4, 4096, 0});
  RawLane lane(*seat);
  for (const Op op : {Op::get, Op::put, Op::del, Op::exists, Op::add, Op::touch}) {
    CHECK(run(daemon, lane, op, "theirs") == Status::wrong_owner);
    CHECK(run(daemon, lane, op, "ours") != Status::wrong_owner);
  }
  CHECK(run(daemon, lane, Op::ping) == Status::ok);
  CHECK(run(daemon, lane, Op::keys) == Status::ok);
}
