// SPDX-License-Identifier: Apache-2.0
// Where everything in a client's segment stands, and what a client refuses to map.
#include "shm/segment.hpp"

#include <cstring>
#include <functional>
#include <set>
#include <string>

#include <catch2/catch.hpp>

using namespace copykv;

namespace {

/// A segment's header page with a valid header; what stands behind it is never read.
struct HeaderPage {
  explicit HeaderPage(const SegmentGeometry& geometry) : bytes(geometry.segment_bytes()) {
    write_segment_header(header(), geometry, 77);
  }
  SegmentHeader& header() { return *reinterpret_cast<SegmentHeader*>(memory); }
  std::string check() {
    SegmentGeometry seen;
    return check_segment(memory, bytes, seen);
  }

  alignas(kPageBytes) std::byte memory[kPageBytes]{};
  uint64_t bytes;
};

constexpr SegmentGeometry kUsual{5, 2, 16, 8192, 1U << 20};

}  // namespace

TEST_CASE("the parts of a segment follow each other without overlap") {
  for (const uint32_t client : {0U, 1U, 31U, 63U, 64U, 4095U}) {
    for (const uint32_t lanes : {1U, 2U, 3U, 7U, kDaemonsMax}) {
      for (uint32_t depth = 1; depth <= kQueueDepthMax; ++depth) {
        for (const uint32_t payload : {4096U, 8192U, 65536U}) {
          for (const uint64_t bulk : {uint64_t{0}, uint64_t{4096}, uint64_t{1} << 30}) {
            const SegmentGeometry at{client, lanes, depth, payload, bulk};
            const bool in_order =
                at.is_valid() && at.control_offset() >= kPageBytes &&
                at.control_offset() + sizeof(ClientControl) <= at.lanes_offset() &&
                at.lane_offset(0) == at.lanes_offset() &&
                at.lane_offset(lanes) == at.lanes_offset() + uint64_t{lanes} * depth * 256 &&
                at.lane_offset(lanes) <= at.payload_offset() &&
                at.payload_offset() < at.lane_offset(lanes) + kPageBytes &&
                at.slot_payload_offset(0, 0) == at.payload_offset() &&
                at.slot_payload_offset(lanes - 1, depth - 1) + payload == at.bulk_offset() &&
                at.segment_bytes() == at.bulk_offset() + bulk;
            const bool aligned = at.control_offset() % kCacheLineBytes == 0 &&
                                 at.lanes_offset() % kCacheLineBytes == 0 &&
                                 at.payload_offset() % kPageBytes == 0 &&
                                 at.bulk_offset() % kPageBytes == 0;
            if (!in_order || !aligned) FAIL(client << ' ' << lanes << ' ' << depth << ' ' << bulk);
          }
        }
      }
    }
  }
}

TEST_CASE("payload areas of slots do not overlap") {
  const SegmentGeometry at{3, 3, 5, 8192, 0};
  uint64_t expected = at.payload_offset();
  for (uint32_t lane = 0; lane < 3; ++lane) {
    for (uint32_t slot = 0; slot < 5; ++slot, expected += 8192) {
      REQUIRE(at.slot_payload_offset(lane, slot) == expected);
    }
  }
}

TEST_CASE("64 clients in a row have their first lines in 64 different cache sets") {
  std::set<uint64_t> control_sets;
  std::set<uint64_t> slot_sets;
  for (uint32_t client = 100; client < 164; ++client) {
    const SegmentGeometry at{client, 1, 1, 4096, 0};
    control_sets.insert(at.control_offset() % kPageBytes);
    slot_sets.insert(at.lane_offset(0) % kPageBytes);
  }
  REQUIRE(control_sets.size() == 64);
  REQUIRE(slot_sets.size() == 64);
}

TEST_CASE("numbers of a geometry have limits") {
  const auto valid = [](const std::function<void(SegmentGeometry&)>& change) {
    SegmentGeometry geometry = kUsual;
    change(geometry);
    return geometry.is_valid();
  };
  REQUIRE(valid([](auto&) {}));
  REQUIRE(valid([](auto& g) { g.lane_count = kDaemonsMax; }));
  REQUIRE(valid([](auto& g) { g.queue_depth = kQueueDepthMax; }));
  REQUIRE(valid([](auto& g) { g.slot_payload_bytes = kSlotPayloadBytesMax; }));
  REQUIRE(valid([](auto& g) { g.bulk_bytes_max = uint64_t{1} << 40; }));
  REQUIRE(valid([](auto& g) { g.client_number = UINT32_MAX; }));
  REQUIRE_FALSE(valid([](auto& g) { g.lane_count = 0; }));
  REQUIRE_FALSE(valid([](auto& g) { g.lane_count = kDaemonsMax + 1; }));
  REQUIRE_FALSE(valid([](auto& g) { g.queue_depth = 0; }));
  REQUIRE_FALSE(valid([](auto& g) { g.queue_depth = kQueueDepthMax + 1; }));
  REQUIRE_FALSE(valid([](auto& g) { g.slot_payload_bytes = 0; }));
  REQUIRE_FALSE(valid([](auto& g) { g.slot_payload_bytes = 4096 + 8; }));
  REQUIRE_FALSE(valid([](auto& g) { g.slot_payload_bytes = kSlotPayloadBytesMax + 4096; }));
  REQUIRE_FALSE(valid([](auto& g) { g.bulk_bytes_max = 100; }));
  REQUIRE_FALSE(valid([](auto& g) { g.bulk_bytes_max = (uint64_t{1} << 40) + kPageBytes; }));
}

TEST_CASE("a header that was written is accepted and says the same geometry") {
  HeaderPage page(kUsual);
  SegmentGeometry seen;
  REQUIRE(check_segment(page.memory, page.bytes, seen).empty());
  REQUIRE(std::memcmp(&seen, &kUsual, sizeof(seen)) == 0);
  REQUIRE(page.header().epoch == 77);
  REQUIRE(page.header().header_bytes == sizeof(SegmentHeader));
  REQUIRE(page.header().ready == 1);
  // More memory than needed is no error: a later release may append.
  REQUIRE(check_segment(page.memory, page.bytes + kPageBytes, seen).empty());
}

TEST_CASE("each kind of bad segment is refused with its own reason") {
  const auto refusal = [](const std::function<void(HeaderPage&)>& damage) {
    HeaderPage page(kUsual);
    damage(page);
    return page.check();
  };
  using Catch::Contains;
  CHECK_THAT(refusal([](auto& p) { p.bytes = 0; }), Contains("truncated: 0 B"));
  CHECK_THAT(refusal([](auto& p) { p.bytes = kPageBytes - 1; }), Contains("truncated: 4095 B"));
  CHECK_THAT(refusal([](auto& p) { p.header().magic ^= 1; }), Contains("no copykv magic"));
  CHECK_THAT(refusal([](auto& p) { p.header().ready = 0; }), Contains("not ready"));
  CHECK_THAT(refusal([](auto& p) { p.header().ready = 2; }), Contains("not ready"));
  CHECK_THAT(refusal([](auto& p) { ++p.header().abi_major; }), Contains("ABI 2.0"));
  CHECK(refusal([](auto& p) { ++p.header().abi_minor; }).empty());
  CHECK_THAT(refusal([](auto& p) { p.header().fingerprint ^= 1; }), Contains("layout"));
  CHECK_THAT(refusal([](auto& p) { p.header().lane_count = 0; }), Contains("out of range"));
  CHECK_THAT(refusal([](auto& p) { p.header().queue_depth = 65; }), Contains("out of range"));
  CHECK_THAT(refusal([](auto& p) { p.header().slot_payload_bytes = 1; }), Contains("out of range"));
  CHECK_THAT(refusal([](auto& p) { p.header().bulk_bytes_max = 1; }), Contains("out of range"));
  const auto inconsistent = [&](const std::function<void(SegmentHeader&)>& change) {
    return refusal([&](HeaderPage& page) { change(page.header()); });
  };
  CHECK_THAT(refusal([](auto& p) { --p.bytes; }), Contains("inconsistent"));
  CHECK_THAT(inconsistent([](auto& h) { h.segment_bytes += 8; }), Contains("inconsistent"));
  CHECK_THAT(inconsistent([](auto& h) { ++h.client_number; }), Contains("inconsistent"));
  CHECK_THAT(inconsistent([](auto& h) { ++h.lane_count; }), Contains("inconsistent"));
  CHECK_THAT(inconsistent([](auto& h) { --h.queue_depth; }), Contains("inconsistent"));
  CHECK_THAT(inconsistent([](auto& h) { h.control_offset += 64; }), Contains("inconsistent"));
  CHECK_THAT(inconsistent([](auto& h) { h.lanes_offset += 64; }), Contains("inconsistent"));
  CHECK_THAT(inconsistent([](auto& h) { h.payload_offset += 64; }), Contains("inconsistent"));
  CHECK_THAT(inconsistent([](auto& h) { h.bulk_offset += 64; }), Contains("inconsistent"));
}

TEST_CASE("the layout has one fingerprint, and it is in every header") {
  REQUIRE(layout_fingerprint() == layout_fingerprint());
  REQUIRE(layout_fingerprint() != 0);
  HeaderPage page(kUsual);
  REQUIRE(page.header().fingerprint == layout_fingerprint());
}
