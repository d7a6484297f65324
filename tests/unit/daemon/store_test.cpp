// SPDX-License-Identifier: Apache-2.0
#include "daemon/store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <thread>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "tests/unit/allocation_count.hpp"
#include "tests/unit/daemon/store_fixture.hpp"

namespace copykv {
namespace {

using test::StoreFixture;
using test::TestKey;

constexpr uint64_t kMiB = uint64_t{1} << 20;

TEST_CASE("versions grow across delete, from where they were told to begin", "[store]") {
  StoreFixture under(8 * kMiB, true, {.first_version = 1'000});
  CHECK(under.put("k", "1").version == 1'000);
  CHECK(under.put("k", "2").version == 1'001);
  CHECK(under.del("k").status == Status::ok);
  CHECK(under.put("k", "3").version == 1'002);
  CHECK(under.store.last_version() == 1'002);
}

TEST_CASE("an item is gone from the moment it expires", "[store]") {
  StoreFixture under(8 * kMiB);
  under.store.begin_turn(1'000);
  (void)under.put("k", "v", {.ttl_ms = 50});
  under.store.begin_turn(1'049);
  CHECK(under.value_of("k") == "v");
  under.store.begin_turn(1'050);
  SECTION("get") {
    CHECK(under.get("k").status == Status::not_found);
  }
  SECTION("del") {
    CHECK(under.del("k").status == Status::not_found);
  }
  SECTION("touch") {
    CHECK(under.touch("k", 10).status == Status::not_found);
  }
  SECTION("add") {
    CHECK(under.add("k", 5).number == 5);
  }
  SECTION("if absent") {
    CHECK(under.put("k", "w", {.condition = Condition::if_absent}).status == Status::ok);
  }
  SECTION("if present") {
    const auto answer = under.put("k", "w", {.condition = Condition::if_present});
    CHECK(answer.status == Status::condition_failed);
    CHECK(answer.version == 0);
  }
  SECTION("sweep") {
    CHECK(under.store.sweep(10'000) == 1);
    CHECK(under.store.sweep(10'000) == 0);
  }
  CHECK(under.store.counters().expired == 1);
  CHECK(under.store.is_valid());
}

TEST_CASE("add counts in decimal and keeps flags and expiry", "[store]") {
  StoreFixture under(8 * kMiB);
  under.store.begin_turn(100);
  CHECK(under.add("n", -5).number == -5);
  CHECK(under.value_of("n") == "-5");
  CHECK(under.get("n").user_flags == 0);
  (void)under.put("n", "99", {.user_flags = 7, .ttl_ms = 50});
  CHECK(under.add("n", 1).number == 100);
  CHECK(under.value_of("n") == "100");
  CHECK(under.get("n").user_flags == 7);
  (void)under.put("max", "9223372036854775807");
  CHECK(under.add("max", 1).status == Status::not_a_number);
  CHECK(under.value_of("max") == "9223372036854775807");
  CHECK(under.add("max", std::numeric_limits<int64_t>::min()).number == -1);
  for (const char* word : {"", " 1", "1 ", "+1", "1.0", "0x1", "99999999999999999999", "-"}) {
    (void)under.put("w", word);
    CHECK(under.add("w", 1).status == Status::not_a_number);
    CHECK(under.value_of("w") == word);
  }
  under.store.begin_turn(150);
  CHECK(under.get("n").status == Status::not_found);
  CHECK(under.store.is_valid());
}

TEST_CASE("keys and values of every length come back", "[store]") {
  StoreFixture under(64 * kMiB);
  for (uint32_t bytes = 1; bytes <= kKeyBytesMax; ++bytes) {
    const std::string key(bytes, static_cast<char>('a' + bytes % 26));
    const std::string value(bytes * 4 + bytes % 9, static_cast<char>(bytes));
    REQUIRE(under.put(key, value, {.user_flags = bytes % 3}).status == Status::ok);
    REQUIRE(under.value_of(key) == value);
    REQUIRE(under.get(key).user_flags == bytes % 3);
  }
  CHECK(under.put("empty", "").status == Status::ok);
  CHECK(under.value_of("empty").empty());
  CHECK(under.store.is_valid());
}

TEST_CASE("beyond the budget: no_space, and everything stored stays readable", "[store]") {
  const size_t value_bytes = GENERATE(as<size_t>{}, 0, 32, 3'000, 100'000, 1'500'000);
  StoreFixture under(16 * kMiB);
  const auto value_for = [&](uint32_t number) {
    return std::string(value_bytes, static_cast<char>('a' + number % 26));
  };
  const auto key_for = [](uint32_t number) { return fmt::format("{:08}", number); };
  uint32_t stored = 0;
  StoreAnswer answer;
  while ((answer = under.put(key_for(stored), value_for(stored))).status == Status::ok) ++stored;
  CHECK(answer.status == Status::no_space);
  CHECK_FALSE(answer.retry);
  CHECK(under.store.counters().no_space == 1);
  CHECK(under.memory->populated_bytes() <= 16 * kMiB);
  // At least two thirds of the budget hold keys and values; tiny items carry 40 B on top.
  CHECK(stored * (8 + value_bytes + 40) >= 10 * kMiB);
  CHECK(under.put(key_for(0), std::string(value_bytes + 2'000'000, 'x')).status ==
        Status::no_space);
  for (uint32_t number = 0; number < stored; ++number) {
    REQUIRE(under.value_of(key_for(number)) == value_for(number));
  }
  // An overwrite in place needs no room; after a delete there is room again.
  if (value_bytes <= kInlineValueBytes) {
    CHECK(under.put(key_for(0), value_for(1)).status == Status::ok);
  }
  REQUIRE(under.del(key_for(1)).status == Status::ok);
  CHECK(under.put(key_for(stored), value_for(stored)).status == Status::ok);
  CHECK(under.store.is_valid());
}

TEST_CASE("small items can take the place of large ones in a full store", "[store]") {
  StoreFixture under(32 * kMiB);
  uint32_t large = 0;
  while (under.put(fmt::format("large {}", large), std::string(500'000, 'l')).status ==
         Status::ok) {
    ++large;
  }
  for (uint32_t number = 0; number < large; ++number) {
    REQUIRE(under.del(fmt::format("large {}", number)).status == Status::ok);
  }
  uint32_t small = 0;
  while (under.put(fmt::format("{:08}", small), std::string(32, 's')).status == Status::ok) ++small;
  // 30 MiB of arena at 56 B per item and the overflow buckets that a small index leads to.
  CHECK(small > 400'000);
  CHECK(under.store.counters().chain_full == 0);
  CHECK(under.store.is_valid());
}

TEST_CASE("retry changes nothing and ends when memory is populated", "[store]") {
  StoreFixture under(16 * kMiB, false);
  uint32_t stored = 0;
  StoreAnswer answer;
  const std::string value(3'000, 'v');
  while (!(answer = under.put(fmt::format("{:08}", stored), value)).retry) ++stored;
  const StoreCounters before = under.store.counters();
  CHECK(stored > 500);
  CHECK(under.put("another", value).retry);
  CHECK(under.get("another").status == Status::not_found);
  CHECK(under.store.counters().items == before.items);
  CHECK(under.store.counters().arena_used_bytes == before.arena_used_bytes);
  CHECK(under.store.counters().no_space == 0);
  under.populate_all();
  CHECK(under.put("another", value).status == Status::ok);
  CHECK(under.store.is_valid());
}

TEST_CASE("a control thread populates beside the daemon thread", "[store][threads]") {
  StoreFixture under(64 * kMiB);
  uint32_t stop = 0;
  std::thread control([&] {
    while (observe(stop) == 0) {
      if (!under.memory->populate_ahead()) std::this_thread::yield();
    }
  });
  const std::string value(1'000, 'v');
  uint32_t stored = 0;
  uint64_t retries = 0;
  for (;;) {
    const TestKey key(std::to_string(stored));
    const PutRequest request{.value = value.data(), .value_bytes = 1'000};
    const StoreAnswer answer = under.store.put(key, under.probe(key), request);
    if (answer.retry) {
      ++retries;
      std::this_thread::yield();
      continue;
    }
    if (answer.status != Status::ok) break;
    ++stored;
  }
  publish(stop, 1U);
  control.join();
  CHECK(under.store.counters().retries == retries);
  CHECK(stored > 50'000);
  for (uint32_t number = 0; number < stored; ++number) {
    REQUIRE(under.value_of(std::to_string(number)) == value);
  }
  CHECK(under.store.is_valid());
}

TEST_CASE("keys that collide are refused, others are not touched", "[store]") {
  StoreFixture under(16 * kMiB);
  // The first 4,096 buckets are chosen by the low 12 bits of the hash.
  std::vector<std::string> colliding;
  for (uint64_t number = 0; colliding.size() < 60; ++number) {
    const std::string key = std::to_string(number);
    if ((hash_key(key) & 4095) == 77) colliding.push_back(key);
  }
  uint32_t refused = 0;
  for (const auto& key : colliding) refused += under.put(key, "v").status == Status::no_space;
  CHECK(refused == 60 - FastMap::kChainEntriesMax);
  CHECK(under.store.counters().chain_full == refused);
  CHECK(under.store.counters().items == FastMap::kChainEntriesMax);
  const uint64_t item_bytes = Arena::rounded_bytes(Item::bytes_of(8, 1, 0));
  CHECK(under.store.counters().arena_used_bytes ==
        FastMap::kChainEntriesMax * item_bytes + 7 * sizeof(Bucket));  // nothing of the refused
  CHECK(under.put(colliding[0], "w").status == Status::ok);
  CHECK(under.put("some other key", "v").status == Status::ok);
  CHECK(under.store.is_valid());
}

TEST_CASE("pages of keys list each standing key exactly once while the map changes", "[store]") {
  StoreFixture under(64 * kMiB);
  std::map<std::string, uint32_t> standing;
  for (uint32_t number = 0; number < 3'000; ++number) {
    const std::string key = fmt::format("{:0{}}", number, 4 + number % 200);
    REQUIRE(under.put(key, "v").status == Status::ok);
    standing[key] = 0;
  }
  under.store.begin_turn(10);
  (void)under.put("expired", "v", {.ttl_ms = 1});
  under.store.begin_turn(20);
  Random random(1);
  uint64_t cursor = 0;
  uint32_t added = 0;
  do {
    std::byte room[1'100];
    const KeysPage page = under.store.keys(cursor, room);
    REQUIRE(page.status == Status::ok);
    uint32_t listed = 0;
    for (uint32_t at = 0; at < page.bytes; ++listed) {
      uint16_t key_bytes;
      std::memcpy(&key_bytes, &room[at], 2);
      const std::string key(reinterpret_cast<const char*>(&room[at + 2]), key_bytes);
      CHECK(key != "expired");
      if (const auto known = standing.find(key); known != standing.end()) ++known->second;
      at += 2U + key_bytes;
    }
    CHECK(listed == page.key_count);
    cursor = page.next_cursor;
    for (int more = 0; more < 30; ++more) (void)under.put(fmt::format("new {}", added++), "v");
    (void)under.del(fmt::format("new {}", random.below(added)));
  } while (cursor != 0);
  uint32_t wrong = 0;
  for (const auto& [key, times] : standing) wrong += times == 1 ? 0 : 1;
  CHECK(wrong == 0);
  std::byte tiny[4];
  CHECK(under.store.keys(0, tiny).status == Status::buffer_too_small);
}

TEST_CASE("overhead per item stays below 40 bytes all the way", "[store]") {
  StoreFixture under(256 * kMiB);
  const uint64_t empty_bytes = under.store.counters().index_bytes;
  double worst = 0;
  for (uint64_t number = 1; number <= 1'300'000; ++number) {
    const uint64_t word = number * 0x9e3779b97f4a7c15U;
    const ItemKey key{&word, 8, hash_key({reinterpret_cast<const char*>(&word), 8})};
    alignas(8) const std::byte value[32] = {};
    const PutRequest request{.value = value, .value_bytes = sizeof(value)};
    const auto answer = under.run([&] { return under.store.put(key, under.probe(key), request); });
    if (answer.status != Status::ok) FAIL("put " << number);
    if (number % 1'000 == 0) under.populate_all();  // as the control thread does beside it
    if (number % 10'000 != 0) continue;
    const StoreCounters counters = under.store.counters();
    const uint64_t bytes = counters.arena_held_bytes + counters.index_bytes - empty_bytes;
    worst = std::max(worst, static_cast<double>(bytes) / static_cast<double>(number) - 8 - 32);
  }
  CHECK(worst < 40);
  CHECK(worst > 16 + 64.0 / 7);  // header and a full bucket: less would be a wrong count
}

TEST_CASE("operations allocate nothing", "[store]") {
  StoreFixture under(32 * kMiB);
  alignas(8) std::byte value[256] = {};
  const uint64_t before = test::allocation_count();
  Random random(3);
  for (uint32_t step = 0; step < 200'000; ++step) {
    const uint64_t word = random.below(50'000);
    const ItemKey key{&word, 8, hash_key({reinterpret_cast<const char*>(&word), 8})};
    const PutRequest request{.value = value,
                             .value_bytes = static_cast<uint32_t>(random.below(256)),
                             .ttl_ms = static_cast<uint32_t>(random.below(2))};
    if (under.store.put(key, under.probe(key), request).retry) under.populate_all();
    if (random.chance(0.3)) (void)under.store.del(key, under.probe(key));
    if (random.chance(0.3)) (void)under.store.touch(key, under.probe(key), 5);
    (void)under.store.sweep(1);
    under.store.begin_turn(step);
  }
  CHECK(test::allocation_count() == before);
  CHECK(under.store.is_valid());
  ::operator delete(::operator new(4));
  if (test::kAllocationsAreCounted) {
    CHECK(test::allocation_count() == before + 1);  // the counter counts
  }
}

}  // namespace
}  // namespace copykv
