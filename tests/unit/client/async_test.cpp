// SPDX-License-Identifier: Apache-2.0
// Operations in flight: submit, poll, wait, views, what happens when synchronous calls come in
// between, and gets that are asked again. Without a thread: the test takes the daemon's turns.
#include <fmt/format.h>

#include <array>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "tests/unit/client/served.hpp"

using namespace copykv;
using test::Served;
using test::value_of_bytes;

namespace {

/// A client whose daemon moves when the test says so.
struct Scene {
  explicit Scene(uint32_t depth, uint64_t bulk_bytes = 8U << 20)
      : seat(served.attach(depth, bulk_bytes)), client(served.client(seat, &inside)) {
    served.daemon().settle();
  }
  void turns() { served.daemon().settle(); }

  Served served;
  sim::Seat& seat;
  ClientImpl* inside = nullptr;
  Client client;
  std::array<Completion, 64> done;
};

}  // namespace

TEST_CASE("as many operations as slots are in flight, then submit says would_block") {
  for (const uint32_t depth : {1U, 2U, 16U, 64U}) {
    CAPTURE(depth);
    Scene scene(depth);
    Client& kv = scene.client;
    for (uint32_t lap = 0; lap < 3; ++lap) {
      for (uint32_t index = 0; index < depth; ++index) {
        REQUIRE(kv.in_flight() == index);
        REQUIRE(kv.submit_put(fmt::format("k{}", index), fmt::format("v{}", lap), index) ==
                Status::ok);
      }
      REQUIRE(kv.submit_get("k0", 99) == Status::would_block);
      REQUIRE(kv.submit_put("k0", value_of_bytes(100'000), 99) == Status::would_block);
      REQUIRE(kv.submit_del("k0", 99) == Status::would_block);
      REQUIRE(kv.in_flight() == depth);
      REQUIRE(kv.poll(scene.done) == 0);
      REQUIRE(kv.wait(scene.done, 1) == 0);  // nobody takes turns: the time runs out
      scene.turns();
      REQUIRE(kv.poll(scene.done) == depth);
      for (uint32_t index = 0; index < depth; ++index) {
        REQUIRE(scene.done[index].tag == index);
        REQUIRE(scene.done[index].result.ok());
      }
      REQUIRE(kv.in_flight() == 0);
    }
    REQUIRE(test::all_rooms_free(*scene.inside));
  }
}

TEST_CASE("poll and wait take no more than there is room for, and wait knows when to end") {
  Scene scene(16);
  Client& kv = scene.client;
  REQUIRE(kv.wait(scene.done) == 0);  // nothing in flight: at once
  for (uint64_t tag = 0; tag < 10; ++tag) REQUIRE(kv.submit_exists("k", tag) == Status::ok);
  scene.turns();
  REQUIRE(kv.poll(std::span(scene.done).first(0)) == 0);
  REQUIRE(kv.wait(std::span(scene.done).first(0)) == 0);
  uint64_t next = 0;
  while (kv.in_flight() > 0) {
    const size_t taken = kv.wait(std::span(scene.done).first(3));
    REQUIRE(taken == std::min<uint64_t>(3, 10 - next));
    for (size_t index = 0; index < taken; ++index) REQUIRE(scene.done[index].tag == next++);
    REQUIRE(kv.in_flight() == 10 - next);
  }
  REQUIRE(next == 10);
}

TEST_CASE("wait ends after its time, by every policy") {
  for (const Wait wait : {Wait::spin, Wait::adaptive, Wait::park}) {
    Served served;
    sim::Seat& seat = served.attach(4);
    Client kv = served.client(seat, nullptr, wait);
    served.daemon().settle();
    REQUIRE(kv.submit_get("k", 1) == Status::ok);
    std::array<Completion, 4> done;
    const SystemClock clock;
    for (const uint64_t timeout_ms : {0U, 1U, 30U}) {
      const uint64_t began_ns = clock.now_ns();
      REQUIRE(kv.wait(done, timeout_ms) == 0);
      const uint64_t took_ns = clock.now_ns() - began_ns;
      CHECK(took_ns >= timeout_ms * kNanosPerMilli);
      CHECK(took_ns < (timeout_ms + 2'000) * kNanosPerMilli);
    }
    served.daemon().settle();
    REQUIRE(kv.wait(done, 0) == 1);
  }
}

TEST_CASE("views of one poll are all valid until the next call") {
  Scene scene(64);
  Client& kv = scene.client;
  std::vector<std::string> values;
  for (uint32_t index = 0; index < 64; ++index) {
    values.push_back(value_of_bytes(index * index, index));
    REQUIRE(kv.submit_put(fmt::format("k{}", index), values.back(), 0) == Status::ok);
  }
  scene.turns();
  REQUIRE(kv.poll(scene.done) == 64);
  for (uint32_t index = 0; index < 64; ++index) {
    REQUIRE(kv.submit_get(fmt::format("k{}", index), index) == Status::ok);
  }
  scene.turns();
  REQUIRE(kv.poll(scene.done) == 64);
  for (uint32_t index = 0; index < 64; ++index) {
    REQUIRE((scene.done[index].result.value == values[index]));
  }
}

TEST_CASE("a get whose value is larger than its slot is asked again, with every key length") {
  Scene scene(8);
  Client& kv = scene.client;
  for (const size_t key_bytes : {1U, 8U, 32U, 33U, 1024U}) {
    CAPTURE(key_bytes);
    const std::string key(key_bytes, 'k');
    const std::string value = value_of_bytes(60'000, static_cast<uint32_t>(key_bytes));
    REQUIRE(kv.submit_put(key, value, 1) == Status::ok);
    scene.turns();
    REQUIRE(kv.poll(scene.done) == 1);
    REQUIRE(kv.submit_get(key, 77) == Status::ok);
    REQUIRE(kv.submit_exists(key, 78) == Status::ok);
    std::map<uint64_t, uint32_t> tags;
    for (uint32_t round = 0; round < 10 && kv.in_flight() > 0; ++round) {
      scene.turns();
      const size_t taken = kv.poll(scene.done);
      for (size_t index = 0; index < taken; ++index) {
        ++tags[scene.done[index].tag];
        REQUIRE(scene.done[index].result.ok());
        if (scene.done[index].tag == 77) REQUIRE((scene.done[index].result.value == value));
      }
    }
    REQUIRE(kv.in_flight() == 0);
    REQUIRE(tags == std::map<uint64_t, uint32_t>{{77, 1}, {78, 1}});
  }
  REQUIRE(kv.poll(scene.done) == 0);
  REQUIRE(test::all_rooms_free(*scene.inside));
}

TEST_CASE("many large gets in flight, with and without room for all") {
  for (const uint64_t bulk_bytes : {uint64_t{8} << 20, uint64_t{40} * kPageBytes}) {
    Scene scene(16, bulk_bytes);
    Client& kv = scene.client;
    const std::string value = value_of_bytes(50'000);
    REQUIRE(kv.submit_put("k", value, 0) == Status::ok);
    scene.turns();
    REQUIRE(kv.poll(scene.done) == 1);
    for (uint64_t tag = 0; tag < 16; ++tag) REQUIRE(kv.submit_get("k", tag) == Status::ok);
    std::map<uint64_t, uint32_t> tags;
    for (uint32_t round = 0; round < 1'000 && kv.in_flight() > 0; ++round) {
      scene.turns();
      const size_t taken = kv.poll(scene.done);
      for (size_t index = 0; index < taken; ++index) {
        const Result& result = scene.done[index].result;
        ++tags[scene.done[index].tag];
        // With little room some get none, and say so with the size: ask again later.
        if (result.status == Status::buffer_too_small && bulk_bytes < 1U << 20) {
          REQUIRE(result.value_bytes == 50'000);
        } else {
          REQUIRE((result.value == value));
        }
      }
    }
    REQUIRE(tags.size() == 16);
    for (const auto& [tag, times] : tags) REQUIRE(times == 1);
    REQUIRE(kv.poll(scene.done) == 0);
    REQUIRE(test::all_rooms_free(*scene.inside));
  }
}

TEST_CASE("synchronous calls between submits keep every completion, with its value") {
  for (const uint32_t depth : {1U, 2U, 16U}) {
    CAPTURE(depth);
    Served served;
    sim::Seat& seat = served.attach(depth);
    ClientImpl* inside = nullptr;
    Client kv = served.client(seat, &inside);
    served.serve();
    std::vector<std::string> values;
    for (uint32_t index = 0; index < 16; ++index) {
      values.push_back(value_of_bytes(index % 4 == 3 ? 30'000 + index : index * 20, index));
      REQUIRE(kv.put(fmt::format("k{}", index), values.back()).ok());
    }
    Random random(depth);
    std::map<uint64_t, uint32_t> open;  // tag: key
    std::array<Completion, 5> done;
    uint64_t tag = 0;
    const auto take = [&](size_t taken) {
      for (size_t index = 0; index < taken; ++index) {
        const auto at = open.find(done[index].tag);
        REQUIRE(at != open.end());
        REQUIRE(done[index].result.ok());
        REQUIRE((done[index].result.value == values[at->second]));
        open.erase(at);
      }
    };
    for (uint32_t round = 0; round < 400; ++round) {
      const auto key = static_cast<uint32_t>(random.below(16));
      const Status status = kv.submit_get(fmt::format("k{}", key), tag);
      if (status == Status::ok) open[tag++] = key;
      REQUIRE((status == Status::ok || status == Status::would_block));
      REQUIRE(kv.in_flight() == open.size());
      if (random.below(2) == 0) {
        const auto other = static_cast<uint32_t>(random.below(16));
        const Result got = kv.get(fmt::format("k{}", other));
        REQUIRE(got.ok());
        REQUIRE((got.value == values[other]));
        REQUIRE(kv.in_flight() == open.size());
      }
      if (random.below(3) == 0) take(kv.poll(done));
    }
    while (kv.in_flight() > 0) take(kv.wait(done));
    REQUIRE(open.empty());
    REQUIRE(kv.ping().ok());
    REQUIRE(test::all_rooms_free(*inside));
  }
}

TEST_CASE("asynchronous operations answer as the synchronous ones do") {
  Scene scene(16);
  Client& kv = scene.client;
  const auto one = [&](Status submitted) {
    REQUIRE(submitted == Status::ok);
    scene.turns();
    REQUIRE(kv.poll(scene.done) == 1);
    return scene.done[0].result;
  };
  CHECK(one(kv.submit_get("k", 0)).status == Status::not_found);
  const Result put = one(kv.submit_put("k", "5", 0, {.flags = 3}));
  CHECK(put.ok());
  CHECK(one(kv.submit_add("k", 2, 0)).number == 7);
  CHECK(one(kv.submit_touch("k", 0, 0)).ok());
  const Result got = one(kv.submit_get("k", 0));
  CHECK(got.value == "7");
  CHECK(got.flags == 3);
  CHECK(got.version > put.version);
  CHECK(one(kv.submit_exists("k", 0)).value_bytes == 1);
  CHECK(one(kv.submit_put("k", "x", 0, {.when = PutOptions::When::if_absent})).status ==
        Status::condition_failed);
  CHECK(one(kv.submit_del("k", 0)).ok());
  CHECK(one(kv.submit_del("k", 0)).status == Status::not_found);
  CHECK(kv.submit_get("", 0) == Status::invalid_key);
  CHECK(kv.submit_put("k", std::string(test::kValueBytesMax + 1, 'v'), 0) ==
        Status::value_too_large);
  CHECK(kv.in_flight() == 0);
}

TEST_CASE("a Buffer is filled in place, put, and its room comes back") {
  Scene scene(4, 64 * kPageBytes);
  Client& kv = scene.client;
  const std::string value = value_of_bytes(100'000);
  Buffer buffer = kv.reserve(value.size());
  REQUIRE(buffer);
  REQUIRE(buffer.bytes().size() == value.size());
  std::memcpy(buffer.bytes().data(), value.data(), value.size());
  CHECK(kv.submit_put("", std::move(buffer), 1) == Status::invalid_key);
  REQUIRE(buffer);  // a put that did not start leaves it with the caller
  REQUIRE(kv.submit_put("k", std::move(buffer), 1) == Status::ok);
  CHECK_FALSE(buffer);
  CHECK(buffer.bytes().empty());
  scene.turns();
  REQUIRE(kv.poll(scene.done) == 1);
  REQUIRE(scene.done[0].result.ok());
  CHECK(test::all_rooms_free(*scene.inside));
  CHECK(kv.submit_put("k", std::move(buffer), 1) == Status::bad_request);  // it is empty now

  // Small values may come from a Buffer, too.
  Buffer small = kv.reserve(3);
  std::memcpy(small.bytes().data(), "abc", 3);
  REQUIRE(kv.submit_put("small", std::move(small), 2) == Status::ok);
  REQUIRE(kv.submit_get("small", 3) == Status::ok);
  scene.turns();
  REQUIRE(kv.poll(scene.done) == 2);
  CHECK(scene.done[1].result.value == "abc");
}

TEST_CASE("Buffers are moved, reset and destroyed without losing room") {
  Scene scene(4, 16 * kPageBytes);
  Client& kv = scene.client;
  CHECK_FALSE(kv.reserve(0));
  CHECK_FALSE(kv.reserve(17 * kPageBytes));
  CHECK_FALSE(kv.reserve(SIZE_MAX));
  {
    Buffer one = kv.reserve(5 * kPageBytes);
    Buffer other = std::move(one);
    CHECK_FALSE(one);
    REQUIRE(other);
    Buffer third = kv.reserve(kPageBytes);
    third = std::move(other);  // gives its own room back
    REQUIRE(third.bytes().size() == 5 * kPageBytes);
    Buffer& same = third;
    third = std::move(same);
    REQUIRE(third);
    Buffer rest = kv.reserve(11 * kPageBytes);
    REQUIRE(rest);
    CHECK_FALSE(kv.reserve(1));
    CHECK(kv.submit_put("k", value_of_bytes(10'000), 1) == Status::would_block);
    CHECK(kv.in_flight() == 0);
    rest.reset();
    rest.reset();
    CHECK(kv.submit_put("k", value_of_bytes(10'000), 1) == Status::ok);
  }
  scene.turns();
  REQUIRE(kv.poll(scene.done) == 1);
  CHECK(scene.done[0].result.ok());
  CHECK(test::all_rooms_free(*scene.inside));
}

TEST_CASE("a Buffer of another client is refused") {
  Served served;
  sim::Seat& one_seat = served.attach(4);
  sim::Seat& other_seat = served.attach(4);
  Client one = served.client(one_seat);
  Client other = served.client(other_seat);
  served.daemon().settle();
  Buffer buffer = one.reserve(10);
  CHECK(other.submit_put("k", std::move(buffer), 1) == Status::bad_request);
  CHECK(buffer);
}

TEST_CASE("synchronous puts of Buffers wait for slots, not for room") {
  Served served;
  sim::Seat& seat = served.attach(2, 64 * kPageBytes);
  ClientImpl* inside = nullptr;
  Client kv = served.client(seat, &inside);
  served.serve();
  const std::string value = value_of_bytes(20'000);
  REQUIRE(kv.submit_get("k", 1) == Status::ok);
  REQUIRE(kv.submit_get("k", 2) == Status::ok);
  Buffer buffer = kv.reserve(value.size());
  std::memcpy(buffer.bytes().data(), value.data(), value.size());
  REQUIRE(kv.put("k", std::move(buffer)).ok());
  REQUIRE((kv.get("k").value == value));
  std::array<Completion, 4> done;
  REQUIRE(kv.poll(done) == 2);
  REQUIRE(done[0].tag == 1);
  REQUIRE(done[1].tag == 2);
  // All room is out, none of it in flight: a large put cannot be done and says so.
  Buffer all = kv.reserve(64 * kPageBytes);
  REQUIRE(all);
  CHECK(kv.put("other", value).status == Status::would_block);
  all.reset();
  CHECK(kv.put("other", value).ok());
  CHECK(test::all_rooms_free(*inside));
}
