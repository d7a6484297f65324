// SPDX-License-Identifier: Apache-2.0
// The control thread's record of a client: a segment with memory behind it, sealed, growing where
// it may, and freed only when every daemon has let go.
#include "daemon/client_table.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include <catch2/catch.hpp>

using namespace copykv;

namespace {

constexpr SegmentGeometry kGeometry{9, 3, 4, 8192, 1U << 20};

/// Bytes of the record's memfd that the kernel holds memory for.
uint64_t held_bytes(const ClientRecord& record) {
  struct stat status;
  REQUIRE(::fstat(record.memory.get(), &status) == 0);
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

}  // namespace

TEST_CASE("a new segment is what a client accepts, with memory behind all but the bulk area") {
  ClientRecord record;
  REQUIRE(record.make_segment(kGeometry, 42));
  SegmentGeometry seen;
  REQUIRE(check_segment(record.base(), kGeometry.segment_bytes(), seen).empty());
  CHECK(std::memcmp(&seen, &kGeometry, sizeof(seen)) == 0);
  CHECK(reinterpret_cast<SegmentHeader*>(record.base())->epoch == 42);
  CHECK(held_bytes(record) == kGeometry.bulk_offset());
  const auto* words = reinterpret_cast<const uint64_t*>(record.base() + kPageBytes);
  const uint64_t word_count = (kGeometry.bulk_offset() - kPageBytes) / 8;
  uint64_t not_zero = 0;
  for (uint64_t word = 0; word < word_count; ++word) not_zero += words[word] != 0 ? 1 : 0;
  CHECK(not_zero == 0);
}

TEST_CASE("nobody can shrink, grow or unseal a segment") {
  ClientRecord record;
  REQUIRE(record.make_segment(kGeometry, 1));
  const int seals = ::fcntl(record.memory.get(), F_GET_SEALS);
  CHECK((seals & F_SEAL_SHRINK) != 0);
  CHECK((seals & F_SEAL_GROW) != 0);
  CHECK((seals & F_SEAL_SEAL) != 0);
  CHECK(::ftruncate(record.memory.get(), 0) != 0);
  CHECK(::ftruncate(record.memory.get(), 1 << 30) != 0);
  CHECK((::fcntl(record.memory.get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("lanes of one client stand where its geometry says") {
  ClientRecord record;
  record.number = 9;
  record.fence_free = true;
  REQUIRE(record.make_segment(kGeometry, 1));
  for (uint32_t daemon = 0; daemon < kGeometry.lane_count; ++daemon) {
    const LaneSetup lane = record.lane(daemon);
    CHECK(lane.id == 9);
    CHECK(lane.depth == 4);
    CHECK(lane.slot_payload_bytes == 8192);
    CHECK(lane.fence_free);
    CHECK(reinterpret_cast<std::byte*>(lane.slots) ==
          record.base() + kGeometry.lane_offset(daemon));
    CHECK(lane.payload == record.base() + kGeometry.slot_payload_offset(daemon, 0));
    CHECK(lane.bulk == record.base() + kGeometry.bulk_offset());
    CHECK(lane.closed == &record.closed[daemon]);
    CHECK(*lane.bulk_bytes_granted == 0);
  }
}

TEST_CASE("the bulk area grows by whole pages up to its limit, and never shrinks") {
  ClientRecord record;
  REQUIRE(record.make_segment(kGeometry, 1));
  const LaneSetup lane = record.lane(0);
  CHECK(record.grow_bulk(1).empty());
  CHECK(observe(*lane.bulk_bytes_granted) == 4096);
  CHECK(held_bytes(record) == kGeometry.bulk_offset() + 4096);
  CHECK(record.grow_bulk(100'000).empty());
  CHECK(record.bulk_bytes_granted == 102'400);
  CHECK(record.grow_bulk(0).empty());
  CHECK(record.grow_bulk(5).empty());
  CHECK(record.bulk_bytes_granted == 102'400);
  CHECK_THAT(record.grow_bulk((1U << 20) + 1), Catch::Contains("--client-bulk"));
  CHECK_THAT(record.grow_bulk(UINT64_MAX), Catch::Contains("limit"));
  CHECK(record.bulk_bytes_granted == 102'400);
  CHECK(record.grow_bulk(1U << 20).empty());
  CHECK(record.bulk_bytes_granted == 1U << 20);
  CHECK(held_bytes(record) == kGeometry.segment_bytes());
  std::memset(lane.bulk, 'x', 1U << 20);  // there is memory behind every byte
}

TEST_CASE("a record is free when each of its daemons has closed its lane") {
  ClientRecord record;
  REQUIRE(record.make_segment(kGeometry, 1));
  for (const uint32_t daemon : {2U, 0U, 1U}) {
    CHECK_FALSE(record.all_closed());
    publish<uint32_t>(*record.lane(daemon).closed, 1);
  }
  CHECK(record.all_closed());
}

TEST_CASE("a segment takes memory for what is used, not for what it may become") {
  ClientRecord record;
  const SegmentGeometry huge{0, 1, 1, 4096, uint64_t{1} << 36};
  REQUIRE(record.make_segment(huge, 1));
  CHECK(held_bytes(record) == huge.bulk_offset());
}
