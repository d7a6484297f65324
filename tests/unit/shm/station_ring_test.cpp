// SPDX-License-Identifier: Apache-2.0
// Records of stations: what a reader gets is what was written, whole, and the newest of it.
#include "shm/station_ring.hpp"

#include <memory>
#include <thread>

#include <catch2/catch.hpp>

namespace copykv {
namespace {

StationRecord record_of(uint64_t number) {
  StationRecord record{};
  record.mark = number;
  record.at_ns.fill(number);
  return record;
}

bool is_whole(const StationRecord& record) {
  for (const uint64_t at_ns : record.at_ns) {
    if (at_ns != record.mark) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("a ring gives what was written since") {
  const auto ring = std::make_unique<StationRing>();
  REQUIRE(ring->read(0).empty());
  for (uint64_t number = 0; number < 5; ++number) ring->write(record_of(number));
  REQUIRE(ring->written == 5);
  const auto last = ring->read(3);
  REQUIRE(last.size() == 2);
  REQUIRE(last[0].mark == 3);
  REQUIRE(last[1].mark == 4);
  REQUIRE(is_whole(last[1]));
  REQUIRE(ring->read(5).empty());
  REQUIRE(ring->read(6).empty());
}

TEST_CASE("a ring that came round keeps the newest, but for the one that may be overwritten") {
  const auto ring = std::make_unique<StationRing>();
  for (uint64_t number = 0; number < kStationRecords + 10; ++number) ring->write(record_of(number));
  const auto kept = ring->read(0);
  REQUIRE(kept.size() == kStationRecords - 1);
  REQUIRE(kept.front().mark == 11);
  REQUIRE(kept.back().mark == kStationRecords + 9);
}

TEST_CASE("a reader never gets half a record of a writer that goes on") {
  const auto ring = std::make_unique<StationRing>();
  uint32_t stop = 0;
  std::thread writer([&] {
    for (uint64_t number = 0; observe(stop) == 0; ++number) ring->write(record_of(number));
  });
  uint64_t torn = 0;
  while (observe(ring->written) < 50 * uint64_t{kStationRecords}) {  // it comes round all the time
    uint64_t next = 0;
    for (const StationRecord& record : ring->read(0)) {
      torn += is_whole(record) && (next == 0 || record.mark == next) ? 0 : 1;
      next = record.mark + 1;
    }
  }
  publish<uint32_t>(stop, 1);
  writer.join();
  REQUIRE(torn == 0);
}

}  // namespace copykv
