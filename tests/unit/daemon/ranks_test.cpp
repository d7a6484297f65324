// SPDX-License-Identifier: Apache-2.0
// Keys of other ranks, end to end in one thread: what a remote operation means is what a local one
// means, at every size; large values keep their order; failures end as what they were.
#include <fmt/format.h>

#include <map>
#include <thread>

#include "tests/unit/daemon/ranks_scene.hpp"

using namespace copykv;
using copykv::test::RanksScene;

namespace {

std::string value_of(uint64_t seed, size_t bytes) {
  std::string value(bytes, '\0');
  Random random(seed);
  for (char& each : value) each = static_cast<char>(random.next());
  return value;
}

}  // namespace

TEST_CASE("every size of value goes to and comes from another rank") {
  RanksScene scene({});
  for (const size_t bytes : {0U, 1U, 8U, 39U, 40U, 41U, 511U, 512U, 513U, 4095U, 4096U, 4097U,
                             8192U, 262'144U, 262'145U, 1'200'000U, 16'777'216U}) {
    INFO("bytes " << bytes);
    for (const uint32_t owner : {0U, 1U}) {
      const std::string key = scene.key_of(owner, fmt::format("size-{}", bytes));
      const std::string value = value_of(bytes, bytes);
      REQUIRE(scene.put(0, key, value, {.flags = 7}).ok());
      for (const uint32_t reader : {1U, 0U}) {
        const Result got = scene.get(reader, key);
        REQUIRE(got.ok());
        CHECK(got.value == value);
        CHECK(got.flags == 7);
        CHECK(scene.exists(reader, key).value_bytes == bytes);
      }
      CHECK(scene.del(1, key).ok());
      CHECK(scene.get(0, key).status == Status::not_found);
    }
  }
  CHECK(scene.block(0).peer_violations + scene.block(1).peer_violations == 0);
}

TEST_CASE("keys of every length, from both sides") {
  RanksScene scene({});
  for (const size_t bytes : {1U, 7U, 8U, 9U, 32U, 33U, 1023U, 1024U}) {
    const std::string key = value_of(bytes + 1, bytes);
    REQUIRE(scene.put(0, key, "value").ok());
    CHECK(scene.get(1, key).value == "value");
    CHECK(scene.get(0, key).value == "value");
  }
}

TEST_CASE("conditions, counters and expiry mean the same from anywhere") {
  RanksScene scene({});
  using When = PutOptions::When;
  const std::string key = scene.key_of(1, "condition");
  CHECK(scene.put(0, key, "1", {.when = When::if_present}).status == Status::condition_failed);
  const Result first = scene.put(0, key, "1", {.when = When::if_absent});
  REQUIRE(first.ok());
  const Result again = scene.put(0, key, "2", {.when = When::if_absent});
  CHECK(again.status == Status::condition_failed);
  CHECK(again.version == first.version);
  CHECK(scene.put(0, key, "41", {.when = When::if_version, .version = first.version}).ok());
  CHECK(scene.add(0, key, 1).number == 42);
  CHECK(scene.add(1, key, -50).number == -8);
  CHECK(scene.put(0, key, "words").ok());
  CHECK(scene.add(0, key, 1).status == Status::not_a_number);
  CHECK(scene.touch(0, key, 50).ok());
  scene.run_ms(60);
  CHECK(scene.get(0, key).status == Status::not_found);
  CHECK(scene.touch(0, key, 50).status == Status::not_found);
  CHECK(scene.add(0, scene.key_of(1, "new counter"), 5).number == 5);
  const std::string large(1'000'000, 'x');
  CHECK(scene.put(0, key, large, {.when = When::if_present}).status == Status::condition_failed);
  CHECK(scene.put(0, key, large, {.ttl_ms = 50}).ok());
  CHECK(scene.get(0, key).value.size() == large.size());
  scene.run_ms(60);
  CHECK(scene.get(0, key).status == Status::not_found);
}

TEST_CASE("many operations of all kinds agree with a model") {
  RanksScene scene({.ranks = 3});
  Random random(11);
  struct Known {
    std::string value;
    uint32_t flags;
  };
  std::map<std::string, Known> model;
  for (uint32_t step = 0; step < 4'000; ++step) {
    const auto rank = static_cast<uint32_t>(random.below(3));
    const std::string key = fmt::format("key-{}", random.below(60));
    const auto found = model.find(key);
    switch (random.below(5)) {
      case 0:
      case 1: {
        const Result got = scene.get(rank, key);
        REQUIRE(got.ok() == (found != model.end()));
        if (got.ok()) {
          REQUIRE(got.value == found->second.value);
          REQUIRE(got.flags == found->second.flags);
        } else {
          REQUIRE(got.status == Status::not_found);
        }
        break;
      }
      case 2:
      case 3: {
        const size_t bytes = random.chance(0.1) ? random.below(100'000) : random.below(600);
        const Known put{value_of(step, bytes), static_cast<uint32_t>(random.below(3))};
        REQUIRE(scene.put(rank, key, put.value, {.flags = put.flags}).ok());
        model[key] = put;
        break;
      }
      default:
        REQUIRE(scene.del(rank, key).ok() == (found != model.end()));
        model.erase(key);
    }
  }
  CHECK(peek(scene.block(0).remote_calls) > 700);
}

TEST_CASE("operations of one client on one key keep their order, small behind large") {
  RanksScene scene({});
  const std::string key = scene.key_of(1, "ordered");
  Client& client = scene.client(0);
  for (uint32_t round = 0; round < 50; ++round) {
    const std::string large = value_of(round, 700'000);
    REQUIRE(client.submit_put(key, large, 1) == Status::ok);
    REQUIRE(client.submit_exists(key, 2) == Status::ok);
    REQUIRE(client.submit_put(key, "small", 3) == Status::ok);
    REQUIRE(client.submit_get(key, 4) == Status::ok);
    REQUIRE(scene.settle());
    CHECK(scene.rank(0).last.status == Status::ok);
    CHECK(scene.rank(0).value == "small");
  }
}

TEST_CASE("gets and puts that are served together keep their order, each with its own value") {
  RanksScene scene({.depth = 32});
  Random random(7);
  auto& rank = scene.rank(0);
  std::vector<std::string> keys;
  for (uint32_t index = 0; index < 3; ++index) {
    keys.push_back(scene.key_of(1, fmt::format("together-{}", index)));
    REQUIRE(scene.put(0, keys.back(), "before it").ok());
  }
  std::vector<std::string> stands(keys.size(), "before it");
  for (uint32_t round = 0; round < 500; ++round) {
    rank.ends.clear();
    rank.values.clear();
    std::vector<std::string> expected(32);
    for (uint64_t tag = 0; tag < expected.size(); ++tag) {
      const size_t which = random.below(keys.size());
      // Mostly over a value of the same length; sometimes an item of another length takes its
      // place.
      const size_t bytes = random.chance(0.9) ? 9 : 1 + random.below(40);
      switch (random.below(3)) {
        case 0:
          stands[which] = value_of(random.next(), bytes);
          REQUIRE(scene.client(0).submit_put(keys[which], stands[which], tag) == Status::ok);
          break;
        default:
          expected[tag] = stands[which];
          REQUIRE(scene.client(0).submit_get(keys[which], tag) == Status::ok);
      }
    }
    REQUIRE(scene.settle());
    REQUIRE(rank.ends.size() == expected.size());
    for (size_t index = 0; index < rank.ends.size(); ++index) {
      REQUIRE(rank.ends[index].second == Status::ok);
      REQUIRE(rank.values[index] == expected[rank.ends[index].first]);
    }
  }
}

TEST_CASE("deep queues from every rank to every rank") {
  RanksScene scene({.ranks = 3, .depth = 64});
  Random random(5);
  uint64_t submitted = 0;
  for (uint32_t turn = 0; turn < 3'000; ++turn) {
    for (uint32_t rank = 0; rank < 3; ++rank) {
      for (uint32_t burst = 0; burst < 8; ++burst) {
        const std::string key = fmt::format("deep-{}", random.below(1'000));
        const Status status = random.chance(0.5)
                                  ? scene.client(rank).submit_put(key, key + "-value", submitted)
                                  : scene.client(rank).submit_get(key, submitted);
        submitted += status == Status::ok;
      }
    }
    scene.step();
  }
  REQUIRE(scene.settle());
  uint64_t ended = 0;
  for (uint32_t rank = 0; rank < 3; ++rank) {
    ended += scene.rank(rank).ends.size();
    for (const auto& [tag, status] : scene.rank(rank).ends) {
      REQUIRE((status == Status::ok || status == Status::not_found));
    }
    const DaemonBlock& block = scene.block(rank);
    CHECK(peek(block.remote_answers) <= peek(block.remote_calls));
    CHECK(peek(block.inbound_requests) > 1'000);
  }
  CHECK(ended == submitted);
}

TEST_CASE("a rank that dies answers unreachable, what was on its way indeterminate") {
  RanksScene scene({.ranks = 3});
  const std::string lost_key = scene.key_of(1, "lost");
  const std::string kept_key = scene.key_of(2, "kept");
  REQUIRE(scene.put(0, lost_key, "old").ok());
  REQUIRE(scene.put(0, kept_key, "kept").ok());
  Client& client = scene.client(0);
  REQUIRE(client.submit_put(lost_key, "new", 1) == Status::ok);
  REQUIRE(client.submit_get(lost_key, 2) == Status::ok);
  REQUIRE(client.submit_put(lost_key, value_of(1, 1'000'000), 3) == Status::ok);
  scene.rank(0).ends.clear();
  (void)scene.rank(0).daemon->turn();
  scene.kill(1);
  const uint64_t killed_ns = scene.clock.now_ns();
  REQUIRE(scene.settle());
  CHECK(scene.clock.now_ns() - killed_ns < 1'000 * kNanosPerMilli);
  std::map<uint64_t, Status> ends(scene.rank(0).ends.begin(), scene.rank(0).ends.end());
  CHECK(ends.at(1) == Status::indeterminate);
  CHECK(ends.at(2) == Status::unreachable);
  CHECK((ends.at(3) == Status::indeterminate || ends.at(3) == Status::unreachable));
  CHECK(scene.get(0, lost_key).status == Status::unreachable);
  CHECK(scene.put(0, lost_key, "x").status == Status::unreachable);
  CHECK(scene.get(2, kept_key).value == "kept");
  CHECK(scene.get(0, kept_key).value == "kept");

  scene.restart(1);
  for (uint32_t times = 0; times < 2'000 && !scene.connected(); ++times) scene.step(1'000'000);
  REQUIRE(scene.connected());
  CHECK(scene.get(0, lost_key).status == Status::not_found);
  CHECK(scene.put(2, lost_key, "again").ok());
  CHECK(scene.get(0, lost_key).value == "again");
}

TEST_CASE("large values in the middle of a death leave nothing behind") {
  RanksScene scene({.ranks = 3});
  Random random(3);
  for (uint32_t round = 0; round < 20; ++round) {
    for (uint32_t rank = 0; rank < 3; ++rank) {
      for (uint32_t each = 0; each < 4; ++each) {
        const std::string key =
            scene.key_of((rank + 1 + each % 2) % 3, fmt::format("big-{}", each));
        (void)scene.client(rank).submit_put(key, value_of(round, 300'000), 1);
        (void)scene.client(rank).submit_get(key, 2);
      }
    }
    for (uint64_t turns = random.below(200); turns > 0; --turns) scene.step();
    scene.kill(1);
    REQUIRE(scene.settle());
    scene.restart(1);
    for (uint32_t times = 0; times < 3'000 && !scene.connected(); ++times) scene.step(1'000'000);
    REQUIRE(scene.connected());
  }
  for (const uint32_t rank : {0U, 2U}) {
    CHECK(scene.rank(rank).daemon->store().is_valid());
    CHECK(scene.rank(rank).daemon->engine().is_valid());
    // Every value was either stored or its memory given back: three keys of one size each.
    CHECK(scene.rank(rank).daemon->store().counters().arena_used_bytes < 8 * 400'000);
  }
}

TEST_CASE("all keys of all ranks are enumerated by any client") {
  RanksScene scene({.ranks = 3});
  for (uint32_t number = 0; number < 3'000; ++number) {
    REQUIRE(scene.client(number % 3).submit_put(fmt::format("name-{}", number), "v", 1) ==
            Status::ok);
    if (number % 15 == 14) REQUIRE(scene.settle());
  }
  std::map<std::string, uint32_t> seen;
  // The call waits, so somebody else must take the turns.
  uint32_t stop = 0;
  std::thread turns([&] {
    while (observe(stop) == 0) {
      for (uint32_t rank = 0; rank < 3; ++rank) (void)scene.rank(rank).daemon->turn();
      scene.clock.advance_ns(500);
    }
  });
  const Status status =
      scene.client(0).for_each_key([&](std::string_view key) { ++seen[std::string(key)]; });
  publish(stop, 1U);
  turns.join();
  CHECK(status == Status::ok);
  CHECK(seen.size() == 3'000);
}
