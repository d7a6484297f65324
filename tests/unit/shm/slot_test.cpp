// SPDX-License-Identifier: Apache-2.0
// The lines of a slot, word by word, and the copies in and out of shared memory.
#include "shm/slot.hpp"

#include <array>
#include <cstring>
#include <string>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "shm/rank_page.hpp"

using namespace copykv;

TEST_CASE("a request head is packed as the protocol says") {
  // seq in bits 0-31, op in 32-39, placement in 40-41, condition in 42-43, key length in 48-63.
  constexpr RequestHead kHead{0x89abcdef, 2, 0b1101, 0x0123};
  STATIC_REQUIRE(kHead.pack() == 0x0123'0d02'89ab'cdefULL);
  STATIC_REQUIRE(head_seq(kHead.pack()) == 0x89abcdef);
  Random random(1);
  for (uint32_t round = 0; round < 1'000; ++round) {
    const uint64_t word = random.next();
    const RequestHead head = RequestHead::unpack(word);
    REQUIRE(head.pack() == word);
    REQUIRE(head.seq == head_seq(word));
  }
}

TEST_CASE("a response head keeps sequence, status and placement apart") {
  for (uint8_t status = 0; status < kStatusCount; ++status) {
    for (const Placement placement : {Placement::line, Placement::page, Placement::bulk}) {
      for (const uint32_t seq : {0U, 1U, 0x7fffffffU, 0xffffffffU}) {
        const uint64_t head = response_head(seq, static_cast<Status>(status), placement);
        REQUIRE(head_seq(head) == seq);
        REQUIRE(response_status(head) == static_cast<Status>(status));
        REQUIRE(response_placement(head) == placement);
      }
    }
  }
  REQUIRE(response_head(7, Status::no_space, Placement::bulk) == 0x0203'0000'0007ULL);
}

TEST_CASE("the lines stand where the protocol says") {
  alignas(kSlotStrideBytes) Slot slots[2]{};
  const auto at = [&](const void* field) {
    return reinterpret_cast<const char*>(field) - reinterpret_cast<const char*>(&slots[0]);
  };
  REQUIRE(at(&slots[0].request.head) == 0);
  REQUIRE(at(&slots[0].request.value_bytes) == 8);
  REQUIRE(at(&slots[0].request.user_flags) == 12);
  REQUIRE(at(&slots[0].request.argument) == 16);
  REQUIRE(at(&slots[0].request.ttl_ms) == 24);
  REQUIRE(at(&slots[0].request.owner) == 28);
  REQUIRE(at(slots[0].request.data) == 32);
  REQUIRE(at(&slots[0].request.data[kRequestLineDataBytes / 8]) == 64);
  REQUIRE(at(&slots[0].response.head) == 128);
  REQUIRE(at(&slots[0].response.value_bytes) == 136);
  REQUIRE(at(&slots[0].response.user_flags) == 140);
  REQUIRE(at(&slots[0].response.version) == 144);
  REQUIRE(at(slots[0].response.data) == 152);
  REQUIRE(at(&slots[0].response.data[kResponseLineDataBytes / 8]) == 192);
  REQUIRE(at(&slots[1]) == 256);
}

TEST_CASE("rounding up to words") {
  for (uint32_t bytes = 0; bytes <= 4096; ++bytes) {
    const uint32_t rounded = round_up_8(bytes);
    REQUIRE(rounded % 8 == 0);
    REQUIRE(rounded >= bytes);
    REQUIRE(rounded < bytes + 8);
  }
}

TEST_CASE("copies to and from shared memory touch whole words and nothing else") {
  for (size_t bytes = 0; bytes <= 40; ++bytes) {
    std::string data(bytes, '\0');
    for (size_t index = 0; index < bytes; ++index) data[index] = static_cast<char>(index + 1);
    std::array<uint64_t, 8> shared;
    shared.fill(0xeeeeeeeeeeeeeeeeULL);
    copy_to_shared(shared.data(), data.data(), bytes);
    const auto* written = reinterpret_cast<const unsigned char*>(shared.data());
    const size_t whole = (bytes + 7) / 8 * 8;
    REQUIRE(std::memcmp(written, data.data(), bytes) == 0);
    for (size_t index = bytes; index < whole; ++index) REQUIRE(written[index] == 0);
    for (size_t index = whole; index < sizeof(shared); ++index) REQUIRE(written[index] == 0xee);

    std::array<char, 48> out;
    out.fill('#');
    copy_from_shared(out.data(), shared.data(), bytes);
    REQUIRE(std::memcmp(out.data(), data.data(), bytes) == 0);
    for (size_t index = bytes; index < out.size(); ++index) REQUIRE(out[index] == '#');
  }
}

TEST_CASE("buckets of durations cover every value, in order, 1/32 wide") {
  uint64_t from_ns = 0;
  for (uint32_t bucket = 0; bucket < PhaseHistogram::kBuckets; ++bucket) {
    const uint64_t upper_ns = PhaseHistogram::upper_ns(bucket);
    REQUIRE(upper_ns >= from_ns);
    REQUIRE(PhaseHistogram::bucket_of(from_ns) == bucket);
    REQUIRE(PhaseHistogram::bucket_of(upper_ns) == bucket);
    REQUIRE((upper_ns - from_ns) * 32 <= from_ns);
    from_ns = upper_ns + 1;
  }
  REQUIRE(from_ns == uint64_t{1} << 33);
  for (const uint64_t beyond_ns : {from_ns, from_ns * 3, UINT64_MAX}) {
    REQUIRE(PhaseHistogram::bucket_of(beyond_ns) == PhaseHistogram::kBuckets - 1);
  }
}

TEST_CASE("a histogram of durations counts, adds and keeps the longest") {
  PhaseHistogram histogram{};
  for (const uint64_t ns : {0U, 5U, 100U, 100U, 3U}) histogram.record(ns);
  REQUIRE(histogram.sum_ns == 208);
  REQUIRE(histogram.max_ns == 100);
  REQUIRE(histogram.counts[PhaseHistogram::bucket_of(100)] == 2);
  uint64_t counted = 0;
  for (const uint64_t times : histogram.counts) counted += times;
  REQUIRE(counted == 5);
}

TEST_CASE("blocks of a rank page stand apart, and the sleep word has its line alone") {
  STATIC_REQUIRE(rank_page_blocks_offset() % kPageBytes == 0);
  STATIC_REQUIRE(rank_page_blocks_offset() >= sizeof(RankHeader));
  STATIC_REQUIRE(sizeof(DaemonBlock) % kPageBytes == 0);
  STATIC_REQUIRE(offsetof(DaemonBlock, sleeping) == 0);
  STATIC_REQUIRE(offsetof(DaemonBlock, turns) == 2 * kCacheLineBytes);
  const RankHeader* page = nullptr;
  const auto at = [&](uint32_t daemon) {
    return static_cast<uint64_t>(reinterpret_cast<const char*>(&daemon_block(*page, daemon)) -
                                 reinterpret_cast<const char*>(page));
  };
  alignas(kPageBytes) static std::byte memory[rank_page_bytes(3)];
  page = reinterpret_cast<const RankHeader*>(memory);
  REQUIRE(at(0) == rank_page_blocks_offset());
  REQUIRE(at(1) == at(0) + sizeof(DaemonBlock));
  REQUIRE(at(2) + sizeof(DaemonBlock) == rank_page_bytes(3));
}
