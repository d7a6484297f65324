// SPDX-License-Identifier: Apache-2.0
// Batches: every key exactly once, whatever the depth, the sizes, and what else is in flight.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/unit/client/served.hpp"

using namespace copykv;
using test::Served;
using test::value_of_bytes;

namespace {

struct Scene {
  explicit Scene(uint32_t depth, uint64_t bulk_bytes = 8U << 20)
      : seat(served.attach(depth, bulk_bytes)), client(served.client(seat, &inside)) {
    served.serve();
  }
  Served served;
  sim::Seat& seat;
  ClientImpl* inside = nullptr;
  Client client;
};

/// Keys with values of all kinds of sizes.
struct Records {
  explicit Records(uint32_t count) {
    for (uint32_t index = 0; index < count; ++index) {
      keys.push_back(fmt::format("key-{}", index));
      const uint32_t sizes[] = {0, 8, 30, 41, 300, 4'096, 4'097, 40'000};
      values.push_back(value_of_bytes(sizes[index % 8], index));
    }
    key_views.assign(keys.begin(), keys.end());
    value_views.assign(values.begin(), values.end());
    statuses.assign(count, Status::bad_request);
  }
  [[nodiscard]] size_t count_of(Status status) const {
    return static_cast<size_t>(std::count(statuses.begin(), statuses.end(), status));
  }
  std::vector<std::string> keys;
  std::vector<std::string> values;
  std::vector<std::string_view> key_views;
  std::vector<std::string_view> value_views;
  std::vector<Status> statuses;
};

}  // namespace

TEST_CASE("a batch of mixed sizes is written, read, looked for and deleted, at every depth") {
  for (const uint32_t depth : {1U, 2U, 16U, 64U}) {
    CAPTURE(depth);
    Scene scene(depth);
    Client& kv = scene.client;
    Records records(200);
    kv.put_batch(records.key_views, records.value_views, records.statuses);
    REQUIRE(records.count_of(Status::ok) == 200);
    std::vector<uint32_t> times(200);
    kv.get_batch(records.key_views, [&](size_t index, const Result& result) {
      REQUIRE(result.ok());
      REQUIRE((result.value == records.values[index]));
      ++times[index];
    });
    REQUIRE(times == std::vector<uint32_t>(200, 1));
    kv.put_batch(records.key_views, records.value_views, records.statuses,
                 {.when = PutOptions::When::if_absent});
    REQUIRE(records.count_of(Status::condition_failed) == 200);
    kv.exists_batch(records.key_views, records.statuses);
    REQUIRE(records.count_of(Status::ok) == 200);
    kv.del_batch(std::span(records.key_views).first(100), std::span(records.statuses).first(100));
    REQUIRE(records.count_of(Status::ok) == 200);
    kv.exists_batch(records.key_views, records.statuses);
    REQUIRE(records.count_of(Status::not_found) == 100);
    REQUIRE(kv.in_flight() == 0);
    REQUIRE(kv.ping().ok());
    REQUIRE(test::all_rooms_free(*scene.inside));
  }
}

TEST_CASE("an empty batch does nothing") {
  Scene scene(4);
  scene.client.get_batch({}, [](size_t, const Result&) { FAIL("there is no key"); });
  scene.client.del_batch({}, {});
}

TEST_CASE("bad keys and values in a batch end as what they are, the others are done") {
  Scene scene(4);
  Records records(20);
  records.keys[3].clear();
  records.keys[7].assign(1025, 'k');
  records.values[9].assign(test::kValueBytesMax + 1, 'v');
  records.key_views.assign(records.keys.begin(), records.keys.end());
  records.value_views.assign(records.values.begin(), records.values.end());
  scene.client.put_batch(records.key_views, records.value_views, records.statuses);
  CHECK(records.statuses[3] == Status::invalid_key);
  CHECK(records.statuses[7] == Status::invalid_key);
  CHECK(records.statuses[9] == Status::value_too_large);
  CHECK(records.count_of(Status::ok) == 17);
}

TEST_CASE("operations in flight before a batch are completed after it") {
  for (const uint32_t depth : {1U, 4U, 16U}) {
    CAPTURE(depth);
    Scene scene(depth);
    Client& kv = scene.client;
    Records records(50);
    REQUIRE(kv.put("before", value_of_bytes(100)).ok());
    REQUIRE(kv.put("large", value_of_bytes(50'000)).ok());
    REQUIRE(kv.submit_get("before", 1'000) == Status::ok);
    if (depth > 1) REQUIRE(kv.submit_get("large", 1'001) == Status::ok);
    kv.put_batch(records.key_views, records.value_views, records.statuses);
    REQUIRE(records.count_of(Status::ok) == 50);
    size_t right = 0;
    kv.get_batch(records.key_views, [&](size_t index, const Result& result) {
      right += result.value == records.values[index] ? 1 : 0;
    });
    REQUIRE(right == 50);
    REQUIRE(kv.in_flight() == (depth > 1 ? 2 : 1));
    std::array<Completion, 4> done;
    size_t taken = 0;
    while (kv.in_flight() > 0) {
      const size_t now = kv.wait(done);
      for (size_t index = 0; index < now; ++index, ++taken) {
        const bool is_large = done[index].tag == 1'001;
        REQUIRE(done[index].result.ok());
        REQUIRE((done[index].result.value == value_of_bytes(is_large ? 50'000 : 100)));
      }
    }
    REQUIRE(taken == (depth > 1 ? 2 : 1));
    REQUIRE(kv.ping().ok());
    REQUIRE(test::all_rooms_free(*scene.inside));
  }
}

TEST_CASE("a batch with less bulk room than it needs at once takes turns with it") {
  Scene scene(16, 24 * kPageBytes);
  Client& kv = scene.client;
  Records records(64);
  kv.put_batch(records.key_views, records.value_views, records.statuses);
  REQUIRE(records.count_of(Status::ok) == 64);
  size_t right = 0;
  kv.get_batch(records.key_views, [&](size_t index, const Result& result) {
    right += result.value == records.values[index] ? 1 : 0;
  });
  REQUIRE(right == 64);
  SECTION("and says would_block where a Buffer of the caller holds all of it") {
    const Buffer all = kv.reserve(24 * kPageBytes);
    REQUIRE(all);
    kv.put_batch(records.key_views, records.value_views, records.statuses);
    CHECK(records.count_of(Status::would_block) == 24);  // what needs more than its slot
    CHECK(records.count_of(Status::ok) == 40);
  }
}
