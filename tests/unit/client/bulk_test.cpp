// SPDX-License-Identifier: Apache-2.0
// Rooms of the bulk area against a page map, and the client's end of a lane, slot by slot.
#include "client/bulk.hpp"

#include <algorithm>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "client/lane_end.hpp"

using namespace copykv;

namespace {

/// Free runs are what the page map says: sorted, apart from each other, nothing more or less.
bool matches(const BulkAllocator& bulk, const std::vector<bool>& used) {
  std::vector<BulkRoom> runs;
  for (size_t page = 0; page < used.size(); ++page) {
    if (used[page]) continue;
    if (page > 0 && !used[page - 1]) {
      runs.back().bytes += kPageBytes;
    } else {
      runs.push_back({page * kPageBytes, kPageBytes});
    }
  }
  return std::equal(runs.begin(), runs.end(), bulk.free_runs().begin(), bulk.free_runs().end(),
                    [](const BulkRoom& one, const BulkRoom& other) {
                      return one.offset == other.offset && one.bytes == other.bytes;
                    });
}

}  // namespace

TEST_CASE("rooms never overlap, and what is returned joins its neighbours") {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    BulkAllocator bulk;
    std::vector<bool> used(8);
    bulk.grow_to(8 * kPageBytes);
    std::vector<BulkRoom> rooms;
    for (uint32_t step = 0; step < 3'000; ++step) {
      const uint64_t what = random.below(20);
      if (what == 0 && used.size() < 200) {
        used.resize(used.size() + random.below(10));
        bulk.grow_to(used.size() * kPageBytes);
      } else if (what < 11) {
        const uint64_t bytes = 1 + random.below(5 * kPageBytes);
        const BulkRoom room = bulk.allocate(bytes);
        if (room.bytes > 0) {
          REQUIRE(room.bytes == whole_pages(bytes));
          for (uint64_t page = 0; page < room.bytes / kPageBytes; ++page) {
            REQUIRE_FALSE(used.at(room.offset / kPageBytes + page));
            used[room.offset / kPageBytes + page] = true;
          }
          rooms.push_back(room);
        } else {
          for (const BulkRoom& run : bulk.free_runs()) REQUIRE(run.bytes < whole_pages(bytes));
        }
      } else if (!rooms.empty()) {
        const size_t index = random.below(rooms.size());
        bulk.release(rooms[index]);
        for (uint64_t page = 0; page < rooms[index].bytes / kPageBytes; ++page) {
          used[rooms[index].offset / kPageBytes + page] = false;
        }
        rooms.erase(rooms.begin() + static_cast<ptrdiff_t>(index));
      }
      REQUIRE(bulk.end() == used.size() * kPageBytes);
      REQUIRE(matches(bulk, used));
    }
  }
}

TEST_CASE("an area without memory has no rooms, and growing by nothing changes nothing") {
  BulkAllocator bulk;
  REQUIRE(bulk.allocate(1).bytes == 0);
  bulk.grow_to(0);
  REQUIRE(bulk.free_runs().empty());
  bulk.grow_to(2 * kPageBytes);
  bulk.grow_to(kPageBytes);  // it never shrinks
  REQUIRE(bulk.end() == 2 * kPageBytes);
  REQUIRE(bulk.allocate(2 * kPageBytes + 1).bytes == 0);
  const BulkRoom all = bulk.allocate(2 * kPageBytes);
  REQUIRE(all.bytes == 2 * kPageBytes);
  REQUIRE(bulk.free_runs().empty());
  bulk.release({});
  REQUIRE(bulk.free_runs().empty());
  bulk.release(all);
  REQUIRE(bulk.free_runs().size() == 1);
}

TEST_CASE("slots of a lane end are used in ring order, each with its own sequence") {
  LaneEnd lane;
  lane.depth = 3;
  uint32_t slot = 99;
  for (uint32_t lap = 1; lap <= 5; ++lap) {
    for (uint32_t index = 0; index < 3; ++index) {
      OpRecord& record = lane.take(slot);
      REQUIRE(slot == index);
      REQUIRE(record.seq == lap);
      record.sink = Sink::user;
      REQUIRE(lane.used == index + 1);
    }
    for (uint32_t index = 0; index < 3; ++index) lane.done(index);
    REQUIRE(lane.used == 0);
    REQUIRE(lane.head == lane.tail);
  }
}

TEST_CASE("a slot that is done before an older one is free only after it") {
  LaneEnd lane;
  lane.depth = 4;
  uint32_t slot = 0;
  for (uint32_t index = 0; index < 4; ++index) lane.take(slot).sink = Sink::user;
  lane.done(2);
  lane.done(1);
  REQUIRE(lane.used == 4);
  REQUIRE(lane.tail == 0);
  lane.done(0);
  REQUIRE(lane.used == 1);
  REQUIRE(lane.tail == 3);
  lane.take(slot).sink = Sink::call;
  REQUIRE(slot == 0);
  REQUIRE(lane.records[0].seq == 2);
  lane.done(3);
  REQUIRE(lane.used == 1);
  lane.done(0);
  REQUIRE(lane.used == 0);
}

TEST_CASE("an answer is there when the response carries the sequence that was asked") {
  alignas(kSlotStrideBytes) Slot slots[2]{};
  LaneEnd lane;
  lane.slots = slots;
  lane.depth = 2;
  uint32_t slot = 0;
  lane.take(slot).sink = Sink::user;
  REQUIRE_FALSE(lane.answered(slot));
  publish(slots[slot].response.head, response_head(2, Status::ok, Placement::line));
  REQUIRE_FALSE(lane.answered(slot));
  publish(slots[slot].response.head, response_head(1, Status::no_space, Placement::line));
  REQUIRE(lane.answered(slot));
}
