// SPDX-License-Identifier: Apache-2.0
// Large values in chunks, with everything else that may happen between two chunks.
#include <map>
#include <optional>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "tests/unit/daemon/store_fixture.hpp"

namespace copykv {
namespace {

using test::Padded;
using test::StoreFixture;
using test::TestKey;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint32_t kChunkBytes = 16'384;

std::string large_value(size_t bytes, char fill) {
  std::string value(bytes, fill);
  for (size_t at = 0; at < bytes; at += 997) value[at] = static_cast<char>(at / 997 % 251);
  return value;
}

std::string read_all(StoreFixture& under, std::string_view key) {
  const TestKey k(key);
  Transfer transfer;
  const StoreAnswer begun = under.store.begin_get(transfer, k, under.probe(k));
  if (begun.status != Status::ok) return std::string(to_string(begun.status));
  Padded into(begun.value_bytes);
  while (under.store.step_get(transfer, into.at(transfer.done_bytes), kChunkBytes) > 0) {
  }
  under.store.end_get(transfer);
  return into.text();
}

TEST_CASE("a large value goes in and out in chunks", "[transfer]") {
  const size_t bytes = GENERATE(as<size_t>{}, 4'097, 16'384, 100'003, 16 * kMiB);
  StoreFixture under(64 * kMiB);
  const std::string value = large_value(bytes, 'a');
  const StoreAnswer put = under.put("k", value, {.user_flags = 9});
  REQUIRE(put.status == Status::ok);
  CHECK(under.get("k").version == put.version);
  CHECK(under.get("k").user_flags == 9);
  CHECK(under.get("k").value_bytes == bytes);
  CHECK(read_all(under, "k") == value);
  CHECK(under.del("k").status == Status::ok);
  CHECK(under.store.counters().arena_held_bytes == 0);
  CHECK(under.store.is_valid());
}

TEST_CASE("a value over the limit is refused at once", "[transfer]") {
  StoreFixture under(64 * kMiB, true, {.value_bytes_max = 10'000});
  CHECK(under.put("k", std::string(10'000, 'x')).status == Status::ok);
  CHECK(under.put("k", std::string(10'001, 'x')).status == Status::value_too_large);
  CHECK(under.get("k").value_bytes == 10'000);
}

TEST_CASE("nothing shows before the commit, nothing stays after an abort", "[transfer]") {
  StoreFixture under(16 * kMiB);
  const TestKey key("k");
  const std::string value = large_value(50'000, 'b');
  (void)under.put("k", "old");
  const StoreCounters before = under.store.counters();
  Transfer transfer;
  REQUIRE(under.store.begin_put(transfer, key, under.probe(key), {.value_bytes = 50'000}).status ==
          Status::ok);
  Padded source(value);
  CHECK(under.store.step_put(transfer, source.at(0), kChunkBytes) == 50'000 - kChunkBytes);
  CHECK(under.value_of("k") == "old");
  under.store.abort(transfer);
  CHECK(transfer.idle());
  CHECK(under.value_of("k") == "old");
  CHECK(under.store.counters().arena_used_bytes == before.arena_used_bytes);
  under.store.abort(transfer);  // idle: nothing happens
  CHECK(under.store.is_valid());
}

TEST_CASE("the condition is checked when the value is complete", "[transfer]") {
  StoreFixture under(16 * kMiB);
  const TestKey key("k");
  PutRequest request{.value_bytes = 8'192, .condition = Condition::if_absent};
  Padded source(large_value(8'192, 'c'));
  Transfer transfer;
  REQUIRE(under.store.begin_put(transfer, key, under.probe(key), request).status == Status::ok);
  CHECK(under.store.step_put(transfer, source.at(0), 8'192) == 0);
  const uint64_t version = under.put("k", "first").version;
  const StoreAnswer late = under.store.commit_put(transfer);
  CHECK(late.status == Status::condition_failed);
  CHECK(late.version == version);
  CHECK(transfer.idle());
  CHECK(under.value_of("k") == "first");
  // And at the beginning, so that nothing is copied in vain.
  CHECK(under.store.begin_put(transfer, key, under.probe(key), request).status ==
        Status::condition_failed);
  CHECK(transfer.idle());
  request = {.value_bytes = 8'192, .condition = Condition::if_version, .if_version = version};
  REQUIRE(under.store.begin_put(transfer, key, under.probe(key), request).status == Status::ok);
  (void)under.store.step_put(transfer, source.at(0), 8'192);
  const StoreAnswer committed = under.store.commit_put(transfer);
  CHECK(committed.status == Status::ok);
  CHECK(committed.version > version);
  CHECK(under.store.counters().arena_used_bytes ==
        Arena::rounded_bytes(Item::bytes_of(1, 8'192, Item::kExtended)));
  CHECK(under.store.is_valid());
}

TEST_CASE("the life of a large value begins at its commit", "[transfer]") {
  StoreFixture under(16 * kMiB);
  const TestKey key("k");
  Padded source(large_value(8'192, 'd'));
  Transfer transfer;
  under.store.begin_turn(1'000);
  REQUIRE(
      under.store.begin_put(transfer, key, under.probe(key), {.value_bytes = 8'192, .ttl_ms = 100})
          .status == Status::ok);
  (void)under.store.step_put(transfer, source.at(0), 8'192);
  under.store.begin_turn(1'500);
  REQUIRE(under.store.commit_put(transfer).status == Status::ok);
  under.store.begin_turn(1'599);
  CHECK(under.get("k").status == Status::ok);
  CHECK(under.touch("k", 500).status == Status::ok);
  under.store.begin_turn(2'098);
  CHECK(under.get("k").status == Status::ok);
  under.store.begin_turn(2'099);
  CHECK(under.store.sweep(5'000) == 1);
  CHECK(under.store.counters().arena_held_bytes == 0);
}

TEST_CASE("a reader keeps the value that it began to read", "[transfer]") {
  StoreFixture under(16 * kMiB);
  const std::string value = large_value(100'000, 'e');
  (void)under.put("k", value, {.ttl_ms = 1'000});
  const TestKey key("k");
  Transfer first;
  Transfer second;
  REQUIRE(under.store.begin_get(first, key, under.probe(key)).status == Status::ok);
  REQUIRE(under.store.begin_get(second, key, under.probe(key)).status == Status::ok);
  Padded into(value.size());
  (void)under.store.step_get(first, into.at(0), kChunkBytes);
  SECTION("deleted") {
    CHECK(under.del("k").status == Status::ok);
  }
  SECTION("overwritten by a small value") {
    CHECK(under.put("k", "x").status == Status::ok);
  }
  SECTION("overwritten by a large value") {
    CHECK(under.put("k", large_value(100'000, 'f')).status == Status::ok);
  }
  SECTION("expired") {
    under.store.begin_turn(5'000);
    CHECK(under.get("k").status == Status::not_found);
  }
  CHECK(under.store.is_valid());
  (void)under.put("other", large_value(100'000, 'g'));  // would take the memory if it were free
  const uint64_t used = under.store.counters().arena_used_bytes;
  while (under.store.step_get(first, into.at(first.done_bytes), kChunkBytes) > 0) {
  }
  under.store.end_get(first);
  CHECK(into.text() == value);
  CHECK(under.store.counters().arena_used_bytes == used);  // the second still reads
  under.store.abort(second);
  CHECK(under.store.counters().arena_used_bytes == used - 7 * kArenaPageBytes);
  CHECK(under.store.is_valid());
}

TEST_CASE("a small value needs no transfer", "[transfer]") {
  StoreFixture under(16 * kMiB);
  (void)under.put("k", "small");
  const TestKey key("k");
  Transfer transfer;
  const StoreAnswer answer = under.store.begin_get(transfer, key, under.probe(key));
  CHECK(answer.status == Status::ok);
  CHECK(answer.value_bytes == 5);
  CHECK(transfer.idle());
}

/// Several transfers at once over few keys, against a map of complete values.
TEST_CASE("interleaved transfers agree with a model", "[transfer]") {
  struct Lane {
    Transfer transfer;
    std::string key;
    std::string value;  // put: what goes in. get: what must come out
    std::optional<Padded> buffer;
  };
  StoreFixture under(24 * kMiB);
  std::map<std::string, std::string> model;
  std::vector<Lane> lanes(6);
  Random random(GENERATE(as<uint64_t>{}, 1, 2));
  uint64_t no_space = 0;
  for (uint32_t step = 0; step < 8'000; ++step) {
    Lane& lane = lanes[random.below(lanes.size())];
    Transfer& transfer = lane.transfer;
    if (transfer.idle()) {
      lane.key = std::string(1 + random.below(5), 'k');
      const TestKey key(lane.key);
      const uint64_t what = random.below(4);
      if (what == 0) {
        const size_t bytes = 4'097 + random.below(random.chance(0.1) ? 8 * kMiB : 200'000);
        lane.value = large_value(bytes, static_cast<char>(random.next()));
        const PutRequest request{.value_bytes = static_cast<uint32_t>(bytes)};
        const auto begun = under.run(
            [&] { return under.store.begin_put(transfer, key, under.probe(key), request); });
        no_space += begun.status == Status::no_space ? 1 : 0;
        lane.buffer.emplace(lane.value);
      } else if (what == 1) {
        const auto begun = under.store.begin_get(transfer, key, under.probe(key));
        REQUIRE((begun.status == Status::ok) == (model.count(lane.key) > 0));
        if (transfer.idle()) continue;
        lane.value = model[lane.key];
        lane.buffer.emplace(size_t{begun.value_bytes});
      } else if (what == 2 && random.chance(0.3)) {
        REQUIRE((under.del(lane.key).status == Status::ok) == (model.erase(lane.key) > 0));
      } else if (what == 3 && random.chance(0.3)) {
        if (under.put(lane.key, "small").status == Status::ok) model[lane.key] = "small";
      }
    } else if (random.chance(0.02)) {
      under.store.abort(transfer);
    } else if (transfer.kind == Transfer::Kind::put) {
      const auto chunk = static_cast<uint32_t>(8 * (1 + random.below(8'000)));
      if (under.store.step_put(transfer, lane.buffer->at(transfer.done_bytes), chunk) > 0) continue;
      REQUIRE(under.run([&] { return under.store.commit_put(transfer); }).status == Status::ok);
      model[lane.key] = lane.value;
    } else {
      const auto chunk = static_cast<uint32_t>(8 * (1 + random.below(8'000)));
      if (under.store.step_get(transfer, lane.buffer->at(transfer.done_bytes), chunk) > 0) continue;
      under.store.end_get(transfer);
      REQUIRE(lane.buffer->text() == lane.value);
    }
    if (step % 5'000 == 0) REQUIRE(under.store.is_valid());
  }
  CHECK(no_space > 0);
  for (Lane& lane : lanes) under.store.abort(lane.transfer);
  for (const auto& [key, value] : model) {
    CHECK((value.size() <= kInlineValueBytes ? under.value_of(key) : read_all(under, key)) ==
          value);
    CHECK(under.del(key).status == Status::ok);
  }
  CHECK(under.store.counters().arena_held_bytes == 0);
  CHECK(under.store.is_valid());
}

}  // namespace
}  // namespace copykv
