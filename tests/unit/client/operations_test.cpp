// SPDX-License-Identifier: Apache-2.0
// Synchronous operations of the library against the real engine: what each returns, for every size
// and place of a value, and that no bulk room is lost on the way.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/unit/client/served.hpp"

using namespace copykv;
using test::Served;
using test::value_of_bytes;

namespace {

/// One client of one served daemon.
struct Scene {
  explicit Scene(uint32_t depth = 16, uint64_t bulk_bytes = 8U << 20, Wait wait = Wait::adaptive)
      : seat(served.attach(depth, bulk_bytes)), client(served.client(seat, &inside, wait)) {
    served.serve();
  }
  Served served;
  sim::Seat& seat;
  ClientImpl* inside = nullptr;
  Client client;
};

}  // namespace

TEST_CASE("values of every size come back as they went, however the client waits") {
  for (const Wait wait : {Wait::adaptive, Wait::park}) {
    Scene scene(16, 8U << 20, wait);
    Client& kv = scene.client;
    for (const size_t bytes : {0U,
                               1U,
                               8U,
                               23U,
                               24U,
                               25U,
                               32U,
                               33U,
                               40U,
                               41U,
                               1'000U,
                               4'087U,
                               4'088U,
                               4'089U,
                               4'096U,
                               4'097U,
                               65'535U,
                               65'536U,
                               1U << 20,
                               test::kValueBytesMax - 1,
                               test::kValueBytesMax}) {
      for (const std::string& key :
           {std::string("k"), std::string(32, 'l'), std::string(1024, 'm')}) {
        CAPTURE(bytes, key.size());
        const std::string value = value_of_bytes(bytes);
        const Result put = kv.put(key, value, {.flags = 7});
        REQUIRE(put.ok());
        const Result got = kv.get(key);
        REQUIRE(got.ok());
        CHECK((got.value == value));
        CHECK(got.value_bytes == bytes);
        CHECK(got.flags == 7);
        CHECK(got.version == put.version);
        const Result there = kv.exists(key);
        CHECK(there.ok());
        CHECK(there.value_bytes == bytes);
        CHECK(there.version == put.version);
      }
    }
    CHECK(kv.exists("k").ok());  // the next call returns the room of the last value
    CHECK(test::all_rooms_free(*scene.inside));
    CHECK(kv.in_flight() == 0);
  }
}

TEST_CASE("what is too large or no key is refused before anything is sent") {
  Scene scene;
  Client& kv = scene.client;
  const std::string value(test::kValueBytesMax + 1, 'v');
  CHECK(kv.put("k", value).status == Status::value_too_large);
  for (const std::string& key :
       {std::string(), std::string(1025, 'k'), std::string(100'000, 'k')}) {
    CHECK(kv.get(key).status == Status::invalid_key);
    CHECK(kv.put(key, "v").status == Status::invalid_key);
    CHECK(kv.put(key, value).status == Status::invalid_key);
    CHECK(kv.del(key).status == Status::invalid_key);
    CHECK(kv.exists(key).status == Status::invalid_key);
    CHECK(kv.add(key, 1).status == Status::invalid_key);
    CHECK(kv.touch(key, 1).status == Status::invalid_key);
  }
  CHECK(kv.put(std::string(1024, 'k'), "v").ok());
  CHECK(kv.get("k").status == Status::not_found);
  CHECK(peek(scene.served.daemon().block().requests) == 2);
}

TEST_CASE("conditions, versions, deletes") {
  Scene scene;
  Client& kv = scene.client;
  using When = PutOptions::When;
  CHECK(kv.put("k", "1", {.when = When::if_present}).status == Status::condition_failed);
  CHECK(kv.put("k", "1", {.when = When::if_version, .version = 1}).status ==
        Status::condition_failed);
  const Result first = kv.put("k", "1", {.when = When::if_absent});
  REQUIRE(first.ok());
  const Result again = kv.put("k", "2", {.when = When::if_absent});
  CHECK(again.status == Status::condition_failed);
  CHECK(again.version == first.version);
  const Result second = kv.put("k", "2", {.when = When::if_version, .version = first.version});
  REQUIRE(second.ok());
  CHECK(second.version > first.version);
  CHECK(kv.put("k", "3", {.when = When::if_version, .version = first.version}).version ==
        second.version);
  const Result third = kv.put("k", "3", {.when = When::if_present});
  CHECK(third.version > second.version);
  CHECK(kv.get("k").value == "3");
  CHECK(kv.del("k").ok());
  CHECK(kv.del("k").status == Status::not_found);
  const Result gone = kv.get("k");
  CHECK(gone.status == Status::not_found);
  CHECK(gone.version == 0);
  CHECK(gone.value.empty());
  CHECK(kv.exists("k").status == Status::not_found);
  CHECK(kv.put("k", "4").version > third.version);  // also across a delete

  const std::string large = value_of_bytes(100'000);
  CHECK(kv.put("k", large, {.when = When::if_absent}).status == Status::condition_failed);
  CHECK(kv.put("large", large, {.when = When::if_absent}).ok());
  CHECK(test::all_rooms_free(*scene.inside));
}

TEST_CASE("add, touch, ping") {
  Scene scene;
  Client& kv = scene.client;
  CHECK(kv.add("n", 3).number == 3);
  CHECK(kv.add("n", -5).number == -2);
  CHECK(kv.get("n").value == "-2");
  CHECK(kv.add("n", INT64_MAX).number == INT64_MAX - 2);
  CHECK(kv.add("n", 3).status == Status::not_a_number);
  CHECK(kv.put("text", "seven").ok());
  CHECK(kv.add("text", 1).status == Status::not_a_number);
  CHECK(kv.touch("text", 60'000).ok());
  CHECK(kv.touch("text", 0).ok());
  CHECK(kv.touch("nothing", 5).status == Status::not_found);
  CHECK(kv.ping().ok());
}

TEST_CASE("time to live counts from the put") {
  Served served;
  sim::Seat& seat = served.attach(4);
  Client kv = served.client(seat);
  served.serve();
  REQUIRE(kv.put("k", "v", {.ttl_ms = 40}).ok());
  REQUIRE(kv.put("ever", "v", {.ttl_ms = UINT32_MAX}).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  CHECK(kv.get("k").status == Status::not_found);
  CHECK(kv.get("ever").ok());
}

TEST_CASE("get into memory of the caller") {
  Scene scene;
  Client& kv = scene.client;
  const std::string value = value_of_bytes(100);
  REQUIRE(kv.put("k", value).ok());
  REQUIRE(kv.put("empty", "").ok());
  std::array<std::byte, 100> into;
  Result got = kv.get("k", into);
  REQUIRE(got.ok());
  CHECK(got.value == value);
  CHECK(static_cast<const void*>(got.value.data()) == into.data());
  got = kv.get("k", std::span(into).first(99));
  CHECK(got.status == Status::buffer_too_small);
  CHECK(got.value_bytes == 100);
  CHECK(got.value.empty());
  got = kv.get("empty", std::span<std::byte>());
  CHECK(got.ok());
  CHECK(got.value.empty());
  CHECK(kv.get("nothing", into).status == Status::not_found);
  const std::array<std::byte, 3> bytes{std::byte{0}, std::byte{255}, std::byte{10}};
  REQUIRE(kv.put("bytes", bytes).ok());
  CHECK(std::ranges::equal(kv.get("bytes").bytes(), bytes));
}

TEST_CASE("a client of depth 1 and no bulk memory can do what fits its slot") {
  Scene scene(1, 0);
  Client& kv = scene.client;
  CHECK(kv.put("k", value_of_bytes(4'088)).ok());
  CHECK(kv.get("k").value_bytes == 4'088);
  CHECK(kv.put("k", value_of_bytes(4'089)).status == Status::value_too_large);
  CHECK(kv.add("n", 1).number == 1);
  CHECK_FALSE(kv.reserve(1));
}

TEST_CASE("a value that no bulk room of this client holds is named with its size") {
  Served served;
  sim::Seat& rich_seat = served.attach(4);
  sim::Seat& poor_seat = served.attach(4, 16 * kPageBytes);
  Client rich = served.client(rich_seat);
  Client poor = served.client(poor_seat);
  served.serve();
  REQUIRE(rich.put("k", value_of_bytes(200'000)).ok());
  const Result got = poor.get("k");
  CHECK(got.status == Status::buffer_too_small);
  CHECK(got.value_bytes == 200'000);
  CHECK(poor.exists("k").value_bytes == 200'000);
}

TEST_CASE("enumeration sees every key, of every length, and can be stopped by nothing") {
  Scene scene(4, 1U << 20);
  Client& kv = scene.client;
  std::map<std::string, uint32_t> seen;
  CHECK(kv.for_each_key([&](std::string_view key) { ++seen[std::string(key)]; }) == Status::ok);
  CHECK(seen.empty());
  std::vector<std::string> keys;
  for (uint32_t index = 0; index < 600; ++index) {
    keys.push_back(fmt::format("{:0>{}}", index, 4 + index % 1020));
    REQUIRE(kv.put(keys.back(), "v").ok());
  }
  CHECK(kv.for_each_key([&](std::string_view key) { ++seen[std::string(key)]; }) == Status::ok);
  CHECK(seen.size() == keys.size());
  for (const std::string& key : keys) CHECK(seen[key] == 1);
  CHECK(test::all_rooms_free(*scene.inside));
}

TEST_CASE("no space is an answer, and what was there stays") {
  Served served(kStoreBudgetBytesMin);
  sim::Seat& seat = served.attach(4);
  ClientImpl* inside = nullptr;
  Client kv = served.client(seat, &inside);
  served.serve();
  const std::string value = value_of_bytes(500'000);
  uint32_t stored = 0;
  Result put;
  do {
    put = kv.put(fmt::format("key-{}", stored), value);
  } while (put.ok() && ++stored < 1'000);
  CHECK(put.status == Status::no_space);
  CHECK(stored >= 5);
  for (uint32_t index = 0; index < stored; ++index) {
    CHECK((kv.get(fmt::format("key-{}", index)).value == value));
  }
  CHECK(kv.del("key-0").ok());
  CHECK(kv.put("another", value).ok());
  CHECK(test::all_rooms_free(*inside));
}

TEST_CASE("two clients see each other's writes") {
  Served served;
  sim::Seat& one_seat = served.attach(4);
  sim::Seat& other_seat = served.attach(4);
  Client one = served.client(one_seat);
  Client other = served.client(other_seat);
  served.serve();
  for (uint32_t round = 0; round < 100; ++round) {
    const std::string value = value_of_bytes(round * 100, round);
    REQUIRE(one.put("k", value).ok());
    REQUIRE((other.get("k").value == value));
    REQUIRE(other.add("n", 1).number == 2 * round + 1);
    REQUIRE(one.add("n", 1).number == 2 * round + 2);
  }
}

TEST_CASE("a client that is moved goes on") {
  Scene scene;
  REQUIRE(scene.client.put("k", "v").ok());
  REQUIRE(scene.client.submit_get("k", 5) == Status::ok);
  Client moved = std::move(scene.client);
  std::array<Completion, 2> done;
  REQUIRE(moved.wait(done) == 1);
  CHECK(done[0].tag == 5);
  CHECK(done[0].result.value == "v");
  CHECK(moved.connected());
}
