// SPDX-License-Identifier: Apache-2.0
// Large values through the engine: a chunk a turn, other lanes served meanwhile, the own lane
// stopped behind them, and nothing left when the client goes in the middle.
#include <array>
#include <string>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "sim/in_process.hpp"
#include "tests/unit/daemon/raw_lane.hpp"

using namespace copykv;
using sim::InProcessDaemon;
using test::RawLane;

namespace {

constexpr uint64_t kBulkBytes = 2U << 20;
constexpr SegmentGeometry kLarge{0, 1, 8, 4096, kBulkBytes};
constexpr SegmentGeometry kOther{1, 1, 1, 4096, 0};

std::string bytes_of(uint64_t seed, size_t bytes) {
  Random random(seed);
  std::string value(bytes, '\0');
  for (char& c : value) c = static_cast<char>(random.next());
  return value;
}

uint64_t room_for(size_t bytes) {
  return (bytes + 7) / 8 * 8;
}

/// Turns until the slot is answered; before each one the other lane asks, and is answered in it.
uint32_t turns_with_company(InProcessDaemon& daemon, const RawLane& lane, uint32_t slot,
                            RawLane& other) {
  uint32_t turns = 0;
  for (; turns < 100'000 && !lane.answered(slot); ++turns) {
    const uint32_t asked = other.send(Op::get, "small");
    (void)daemon.turn();
    REQUIRE(other.answered(asked));
    REQUIRE(other.value(asked) == "v");
    REQUIRE(daemon.engine().is_valid());
  }
  REQUIRE(lane.answered(slot));
  return turns;
}

struct Scene {
  explicit Scene(uint64_t memory_bytes = 64U << 20)
      : daemon({.memory_bytes = memory_bytes, .value_bytes_max = kBulkBytes}),
        large_seat(daemon.attach(kLarge)),
        other_seat(daemon.attach(kOther)),
        large(*large_seat),
        other(*other_seat) {
    (void)other.send(Op::put, "small", "v");
    daemon.settle();
  }
  uint32_t put(std::string_view key, std::string_view value) {
    return large.send(Op::put, key, value,
                      {.placement = Placement::bulk, .bulk_bytes = room_for(value.size())});
  }
  uint32_t get(std::string_view key, uint64_t room_bytes = kBulkBytes) {
    return large.send(Op::get, key, {}, {.placement = Placement::bulk, .bulk_bytes = room_bytes});
  }

  InProcessDaemon daemon;
  std::unique_ptr<sim::Seat> large_seat;
  std::unique_ptr<sim::Seat> other_seat;
  RawLane large;
  RawLane other;
};

}  // namespace

TEST_CASE("a large value moves in chunks while another lane is served in every turn") {
  for (const size_t bytes : {4'097U, 8'192U, 65'537U, 300'001U, 1U << 20}) {
    CAPTURE(bytes);
    Scene scene;
    const std::string value = bytes_of(bytes, bytes);
    const uint32_t put = scene.put("large", value);
    const uint32_t put_turns = turns_with_company(scene.daemon, scene.large, put, scene.other);
    REQUIRE(scene.large.status(put) == Status::ok);
    // At most 4 KiB a turn, and no turn without progress.
    CHECK(put_turns >= bytes / 4'096);
    CHECK(put_turns <= bytes / 1'024 + 4);

    std::memset(scene.large.bulk(), 0, kBulkBytes);
    const uint32_t get = scene.get("large");
    const uint32_t get_turns = turns_with_company(scene.daemon, scene.large, get, scene.other);
    REQUIRE(scene.large.status(get) == Status::ok);
    CHECK(scene.large.value(get) == value);
    CHECK(get_turns >= bytes / 4'096);
    CHECK(get_turns <= bytes / 1'024 + 4);
    CHECK(scene.daemon.block().transfers == 2);
    CHECK(scene.daemon.block().transfer_bytes == 2 * bytes);
  }
}

TEST_CASE("several large values share the turns") {
  InProcessDaemon daemon({.memory_bytes = 64U << 20});
  std::vector<std::unique_ptr<sim::Seat>> seats;
  std::vector<RawLane> lanes;
  std::vector<std::string> values;
  for (uint32_t index = 0; index < 5; ++index) {
    seats.push_back(daemon.attach({index, 1, 4, 4096, 1U << 20}));
    lanes.emplace_back(*seats.back());
    values.push_back(bytes_of(index, 100'000 + index * 7'777));
  }
  daemon.settle();
  for (uint32_t index = 0; index < 5; ++index) {
    const std::string key(1, static_cast<char>('a' + index));
    (void)lanes[index].send(
        Op::put, key, values[index],
        {.placement = Placement::bulk, .bulk_bytes = room_for(values[index].size())});
    // Room behind the value, so that the answer does not stand where the request did.
    (void)lanes[index].send(
        Op::get, key, {},
        {.placement = Placement::bulk, .bulk_offset = 512 * 1024, .bulk_bytes = 512 * 1024});
  }
  for (uint32_t turn = 0; turn < 10'000; ++turn) {
    (void)daemon.turn();
    REQUIRE(daemon.engine().is_valid());
  }
  for (uint32_t index = 0; index < 5; ++index) {
    REQUIRE(lanes[index].answered(1));
    CHECK(lanes[index].status(0) == Status::ok);
    CHECK(lanes[index].value(1, 512 * 1024) == values[index]);
  }
  REQUIRE(daemon.store().is_valid());
}

TEST_CASE("requests behind a large value wait, and none is lost or overtaken") {
  Scene scene;
  const std::string first = bytes_of(1, 200'000);
  const uint32_t large_put = scene.put("k", first);
  const uint32_t small_put = scene.large.send(Op::put, "k", "small");
  const uint32_t get = scene.large.send(Op::get, "k");
  const uint32_t del = scene.large.send(Op::del, "k");
  const uint32_t missing = scene.large.send(Op::get, "k");
  const uint32_t put_again = scene.large.send(Op::put, "k", "again");
  for (uint32_t turn = 0; turn < 10'000 && !scene.large.answered(put_again); ++turn) {
    const bool was_done = scene.large.answered(large_put);
    (void)scene.daemon.turn();
    if (!was_done) {
      REQUIRE_FALSE(scene.large.answered(small_put));
    }
  }
  CHECK(scene.large.status(large_put) == Status::ok);
  CHECK(scene.large.status(small_put) == Status::ok);
  CHECK(scene.large.value(get) == "small");
  CHECK(scene.large.status(del) == Status::ok);
  CHECK(scene.large.status(missing) == Status::not_found);
  REQUIRE(scene.large.answered(put_again));
  CHECK(scene.large.status(put_again) == Status::ok);
  CHECK(scene.daemon.block().requests == 7);
}

TEST_CASE("a get says the size when its room is too small, and moves nothing") {
  Scene scene;
  const std::string value = bytes_of(2, 50'000);
  const uint32_t put = scene.put("k", value);
  scene.daemon.settle();
  REQUIRE(scene.large.status(put) == Status::ok);
  for (const uint64_t room_bytes : {0U, 8U, 49'992U}) {
    const uint32_t get = scene.get("k", room_bytes);
    scene.daemon.settle();
    REQUIRE(scene.large.answered(get));
    CHECK(scene.large.status(get) == Status::buffer_too_small);
    CHECK(scene.large.response(get).value_bytes == 50'000);
  }
  const uint32_t in_line = scene.large.send(Op::get, "k");
  scene.daemon.settle();
  CHECK(scene.large.status(in_line) == Status::buffer_too_small);
  CHECK(scene.daemon.block().transfers == 1);
  const uint32_t fits = scene.get("k", 50'000);
  scene.daemon.settle();
  CHECK(scene.large.value(fits) == value);
}

TEST_CASE("a reader keeps the value that it began with, a writer replaces it at once") {
  Scene scene;
  const std::string old_value = bytes_of(3, 300'000);
  (void)scene.put("k", old_value);
  scene.daemon.settle();
  const uint32_t get = scene.get("k");
  for (uint32_t turn = 0; turn < 20; ++turn) (void)scene.daemon.turn();
  REQUIRE_FALSE(scene.large.answered(get));
  const uint32_t del = scene.other.send(Op::del, "k");
  (void)scene.daemon.turn();
  REQUIRE(scene.other.status(del) == Status::ok);
  const uint32_t gone = scene.other.send(Op::exists, "k");
  scene.daemon.settle();
  CHECK(scene.other.status(gone) == Status::not_found);
  REQUIRE(scene.large.answered(get));
  CHECK(scene.large.value(get) == old_value);
  CHECK(scene.daemon.store().is_valid());
}

TEST_CASE("conditions of a large put are checked when it ends, too") {
  Scene scene;
  const std::string value = bytes_of(4, 100'000);
  const uint32_t put = scene.large.send(Op::put, "k", value,
                                        {.placement = Placement::bulk,
                                         .condition = Condition::if_absent,
                                         .bulk_bytes = room_for(value.size())});
  for (uint32_t turn = 0; turn < 10; ++turn) (void)scene.daemon.turn();
  REQUIRE_FALSE(scene.large.answered(put));
  const uint32_t first = scene.other.send(Op::put, "k", "first");
  (void)scene.daemon.turn();
  REQUIRE(scene.other.status(first) == Status::ok);
  scene.daemon.settle();
  REQUIRE(scene.large.answered(put));
  CHECK(scene.large.status(put) == Status::condition_failed);
  CHECK(scene.large.response(put).version == scene.other.response(first).version);
  CHECK(scene.daemon.store().is_valid());
}

TEST_CASE("a client that goes during a transfer leaves nothing behind") {
  for (const bool is_put : {true, false}) {
    for (const uint32_t turns : {0U, 1U, 2U, 50U, 200U, 511U, 512U, 513U}) {
      CAPTURE(is_put, turns);
      Scene scene;
      const std::string value = bytes_of(5, 1U << 20);
      if (!is_put) {
        (void)scene.put("k", value);
        scene.daemon.settle();
      }
      const StoreCounters before = scene.daemon.store().counters();
      const uint32_t slot = is_put ? scene.put("new", value) : scene.get("k");
      (void)scene.large.send(Op::put, "behind", "v");
      for (uint32_t turn = 0; turn < turns; ++turn) (void)scene.daemon.turn();
      scene.daemon.detach(*scene.large_seat);
      for (uint32_t turn = 0; turn < 10 && !scene.large_seat->closed(); ++turn) {
        (void)scene.daemon.turn();
        REQUIRE(scene.daemon.engine().is_valid());
      }
      REQUIRE(scene.large_seat->closed());
      const StoreCounters after = scene.daemon.store().counters();
      if (!scene.large.answered(slot)) {  // else it ended in the last turn before the close
        CHECK(after.items == before.items);
        CHECK(after.arena_used_bytes == before.arena_used_bytes);
      }
      CHECK(scene.daemon.store().is_valid());
      CHECK(scene.daemon.block().lanes == 1);
      // The other client did not notice.
      const uint32_t get = scene.other.send(Op::get, "small");
      (void)scene.daemon.turn();
      CHECK(scene.other.value(get) == "v");
    }
  }
}

TEST_CASE("a large value that does not fit the memory is refused, and memory is whole") {
  Scene scene(kStoreBudgetBytesMin);
  uint32_t stored = 0;
  const std::string value = bytes_of(6, 1U << 20);
  Status status = Status::ok;
  for (; stored < 100 && status == Status::ok; ++stored) {
    const std::string key = "large-" + std::to_string(stored);
    const uint32_t put = scene.put(key, value);
    scene.daemon.settle();
    REQUIRE(scene.large.answered(put));
    status = scene.large.status(put);
  }
  CHECK(status == Status::no_space);
  CHECK(stored > 2);
  CHECK(scene.daemon.store().is_valid());
  const uint32_t get = scene.get("large-0");
  scene.daemon.settle();
  CHECK(scene.large.value(get) == value);
}
