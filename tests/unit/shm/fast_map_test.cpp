// SPDX-License-Identifier: Apache-2.0
#include "shm/fast_map.hpp"

#include <fmt/format.h>

#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "tests/unit/shm/test_memory.hpp"

namespace copykv {
namespace {

using test::TestKey;
using test::TestRegion;

constexpr uint64_t kMiB = uint64_t{1} << 20;

struct MapUnderTest {
  explicit MapUnderTest(uint32_t first_level = 12, uint64_t arena_bytes = 256 * kMiB,
                        uint64_t index_populated = 256 * kMiB)
      : index_memory(256 * kMiB, index_populated),
        arena_memory(arena_bytes),
        arena(arena_memory.region, 4096),
        map(index_memory.region, arena, {.first_level = first_level}) {}

  FastMap::Insert insert(std::string_view key, uint64_t hash) {
    return map.insert(hash, test::make_item(arena, key, hash));
  }
  FastMap::Insert insert(std::string_view key) { return insert(key, hash_key(key)); }
  Found find(const ItemKey& key) { return map.find(key, map.probe(key.hash)); }
  bool erase(std::string_view key) {
    const Found found = find(TestKey(key));
    if (!found) return false;
    map.erase(found);
    arena.free(static_cast<uint64_t>(found.item->at(0) - arena.at(0)));
    return true;
  }

  TestRegion index_memory;
  TestRegion arena_memory;
  Arena arena;
  FastMap map;
};

std::string key_of(uint64_t number) {
  // Lengths 8 to 47: words with and without a tail, with and without a stored hash.
  return fmt::format("{:0{}}", number, 8 + number % 40);
}

TEST_CASE("random inserts and erases agree with a model", "[fast_map]") {
  const uint32_t first_level = GENERATE(as<uint32_t>{}, 1, 6, 12);
  MapUnderTest under(first_level);
  std::unordered_map<std::string, Item*> model;
  Random random(first_level);
  for (uint32_t step = 0; step < 200'000; ++step) {
    const std::string key = key_of(random.below(60'000));
    const auto in_model = model.find(key);
    const Found found = under.find(TestKey(key));
    REQUIRE(static_cast<bool>(found) == (in_model != model.end()));
    if (in_model != model.end()) {
      REQUIRE(found.item == in_model->second);
      if (random.chance(0.4)) {
        REQUIRE(under.erase(key));
        model.erase(in_model);
      } else if (random.chance(0.2)) {
        const Offset moved = test::make_item(under.arena, key, hash_key(key));
        under.map.replace(found, moved);
        under.arena.free(static_cast<uint64_t>(found.item->at(0) - under.arena.at(0)));
        model[key] = reinterpret_cast<Item*>(under.arena.at(moved));
      }
    } else {
      REQUIRE(under.insert(key) == FastMap::Insert::ok);
      model[key] = under.find(TestKey(key)).item;
    }
    if (step % 40'000 == 0) REQUIRE(under.map.is_valid());
  }
  CHECK(under.map.is_valid());
  CHECK(under.map.items() == model.size());
  CHECK((under.map.counters().keys_rehashed > 0) == (first_level < 12));
  for (const auto& [key, item] : model) REQUIRE(under.erase(key));
  CHECK(under.map.items() == 0);
  CHECK(under.map.counters().overflow_buckets == 0);
  CHECK(under.map.is_valid());
  CHECK(under.arena.live_objects() == 0);
}

TEST_CASE("growth comes in bounded steps", "[fast_map]") {
  MapUnderTest under;
  uint64_t splits = 0;
  for (uint64_t number = 0; number < 2'000'000; ++number) {
    const uint64_t key = number * 0x9e3779b97f4a7c15U;
    const std::string_view bytes(reinterpret_cast<const char*>(&key), sizeof(key));
    if (under.insert(bytes) != FastMap::Insert::ok) FAIL("insert " << number);
    const uint64_t splits_now = under.map.counters().splits;
    if (splits_now - splits > 1) FAIL("two splits in one insert");
    splits = splits_now;
  }
  const FastMapCounters& counters = under.map.counters();
  CHECK(counters.splits + 4096 == under.map.bucket_count());
  CHECK(under.map.bucket_count() * 24 / 5 + 5 >= under.map.items());
  CHECK(counters.keys_rehashed == 0);
  CHECK(counters.entries_moved_max <= 35);  // 56 is the limit; random keys stay far below
  CHECK(counters.chain_buckets_max <= 5);
  CHECK(under.map.is_valid());
}

TEST_CASE("colliding keys are refused at the chain limit and harm nobody", "[fast_map]") {
  MapUnderTest under;
  constexpr uint64_t kHash = 0x1234'5678'9abc'def0;
  const auto colliding = [](uint32_t number) { return fmt::format("{:040}", number); };
  for (uint32_t number = 0; number < 1000; ++number) {
    REQUIRE(under.insert(key_of(number)) == FastMap::Insert::ok);
  }
  uint32_t held = 0;
  while (under.insert(colliding(held), kHash) == FastMap::Insert::ok) REQUIRE(++held < 100);
  CHECK(held + 7 >= FastMap::kChainEntriesMax);
  CHECK(held <= FastMap::kChainEntriesMax);
  const uint64_t refused_item = under.arena.live_objects();
  CHECK(under.insert(colliding(99), kHash) == FastMap::Insert::chain_full);
  CHECK(under.arena.live_objects() == refused_item + 1);  // the item only, no bucket
  for (uint32_t number = 0; number < held; ++number) {
    REQUIRE(under.find(TestKey(colliding(number), kHash)));
  }
  under.map.erase(under.find(TestKey(colliding(3), kHash)));
  CHECK(under.insert(colliding(3), kHash) == FastMap::Insert::ok);
  for (uint32_t number = 0; number < 1000; ++number) REQUIRE(under.find(TestKey(key_of(number))));
  CHECK(under.map.is_valid());
}

TEST_CASE("a probe survives changes of the map", "[fast_map]") {
  MapUnderTest under(1);
  REQUIRE(under.insert("the key") == FastMap::Insert::ok);
  const TestKey key("the key");
  const Probe old = under.map.probe(ItemKey(key).hash);
  CHECK(old.mutations == under.map.mutations());
  for (uint64_t number = 0; number < 5'000; ++number) {
    REQUIRE(under.insert(key_of(number)) == FastMap::Insert::ok);
  }
  CHECK(old.mutations != under.map.mutations());
  CHECK(under.map.find(key, old));
  REQUIRE(under.erase("the key"));
  CHECK_FALSE(under.map.find(key, old));
}

TEST_CASE("changes are bracketed by an odd version", "[fast_map]") {
  MapUnderTest under;
  const TestKey key("k");
  Bucket& primary = *under.map.probe(ItemKey(key).hash).bucket;
  CHECK(primary.version == 0);
  REQUIRE(under.insert("k") == FastMap::Insert::ok);
  CHECK(primary.version == 2);
  under.map.begin_change(primary);
  CHECK(primary.version == 3);
  CHECK_FALSE(under.map.is_valid());
  under.map.end_change(primary);
  CHECK(under.map.is_valid());
  REQUIRE(under.erase("k"));
  CHECK(primary.version == 6);
}

TEST_CASE("an index without room grows later", "[fast_map]") {
  MapUnderTest under(12, 256 * kMiB, 4096 * sizeof(Bucket));
  for (uint64_t number = 0; number < 60'000; ++number) {
    REQUIRE(under.insert(key_of(number)) == FastMap::Insert::ok);
  }
  CHECK(under.map.bucket_count() == 4096);
  CHECK(under.map.counters().splits_put_off > 0);
  CHECK(under.map.is_valid());
  under.index_memory.region.populated_bytes = 256 * kMiB;
  for (uint64_t number = 60'000; number < 80'000; ++number) {
    REQUIRE(under.insert(key_of(number)) == FastMap::Insert::ok);
  }
  CHECK(under.map.bucket_count() * 24 >= under.map.items() * 5);
  CHECK(under.map.is_valid());
  for (uint64_t number = 0; number < 80'000; ++number) REQUIRE(under.find(TestKey(key_of(number))));
}

TEST_CASE("an enumeration sees every standing key exactly once, also while growing", "[fast_map]") {
  MapUnderTest under(2);
  std::unordered_map<const Item*, uint32_t> seen;
  for (uint64_t number = 0; number < 5'000; ++number) {
    REQUIRE(under.insert(key_of(number)) == FastMap::Insert::ok);
    seen[under.find(TestKey(key_of(number))).item] = 0;
  }
  uint64_t cursor = 0;
  uint64_t added = 5'000;
  uint32_t steps = 0;
  do {
    FastMap::Entry entries[FastMap::kChainEntriesMax];
    uint64_t next = 0;
    uint32_t count = under.map.collect(cursor, entries, next);
    for (uint32_t at = 1; at < count; ++at)
      REQUIRE(entries[at - 1].position <= entries[at].position);
    // Leave in the middle of a bucket now and then, as a small page does.
    if (count > 2 && steps % 3 == 0) {
      count = 2;
      next = entries[2].position;
    }
    for (uint32_t at = 0; at < count; ++at) {
      REQUIRE(entries[at].position >= cursor);
      if (const auto known = seen.find(entries[at].item); known != seen.end()) ++known->second;
    }
    cursor = next;
    for (int more = 0; more < 20; ++more) {
      REQUIRE(under.insert(key_of(added++)) == FastMap::Insert::ok);
    }
    ++steps;
  } while (cursor != 0);
  CHECK(under.map.bucket_count() > 2'000);
  uint64_t missed = 0;
  for (const auto& [item, times] : seen) missed += times == 1 ? 0 : 1;
  CHECK(missed == 0);
}

}  // namespace
}  // namespace copykv
