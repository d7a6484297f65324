// SPDX-License-Identifier: Apache-2.0
// read_request, field by field: what is refused unread and as what, and what is read from where.
#include "daemon/request.hpp"

#include <cstring>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "sim/in_process.hpp"

using namespace copykv;

namespace {

constexpr uint32_t kPayloadBytes = 8192;
constexpr uint32_t kBulkBytes = 64 * 1024;
constexpr uint32_t kGrantedBytes = 32 * 1024;
constexpr uint32_t kValueBytesMax = 16 * 1024;

struct Bench {
  Bench() {
    LaneSetup setup = seat.setup(false);
    setup.bulk_bytes_granted = &granted;
    lane.attach(setup);
    lane.next_slot = 1;
  }
  RequestLine& line() { return seat.slot(1).request; }
  Status read(Op op, uint32_t key_bytes, uint32_t mode = 0) {
    return read_raw(static_cast<uint8_t>(op), key_bytes, mode);
  }
  Status read_raw(uint8_t op, uint32_t key_bytes, uint32_t mode) {
    const RequestHead head{7, op, static_cast<uint8_t>(mode), static_cast<uint16_t>(key_bytes)};
    std::memset(static_cast<void*>(&pending), 0xee, sizeof(pending));
    read_request(lane, head.pack(), {kValueBytesMax}, key_room, pending);
    return pending.status;
  }

  sim::Seat seat{SegmentGeometry{0, 1, 4, kPayloadBytes, kBulkBytes}, 1};
  uint64_t granted = kGrantedBytes;
  Lane lane{};
  alignas(kCacheLineBytes) std::byte key_room[kKeyBytesMax];
  Pending pending;
};

constexpr uint32_t kLine = 0;
constexpr uint32_t kPage = 1;
constexpr uint32_t kBulk = 2;

std::string text(const void* data, size_t bytes) {
  return {static_cast<const char*>(data), bytes};
}

}  // namespace

TEST_CASE("keys have 1 to 1,024 bytes, wherever they stand") {
  Bench bench;
  for (const Op op : {Op::get, Op::put, Op::del, Op::exists, Op::add, Op::touch}) {
    CAPTURE(static_cast<int>(op));
    bench.line() = {};
    CHECK(bench.read(op, 0, kLine) == Status::invalid_key);
    CHECK(bench.read(op, 0, kPage) == Status::invalid_key);
    CHECK(bench.read(op, 1, kLine) == Status::ok);
    CHECK(bench.read(op, 32, kLine) == Status::ok);
    CHECK(bench.read(op, 33, kLine) == Status::bad_request);
    CHECK(bench.read(op, 33, kPage) == Status::ok);
    CHECK(bench.read(op, 1024, kPage) == Status::ok);
    CHECK(bench.read(op, 1025, kPage) == Status::invalid_key);
    CHECK(bench.read(op, 65535, kPage) == Status::invalid_key);
    CHECK(bench.read(op, 1025, kLine) == Status::invalid_key);
  }
  for (const Op op : {Op::keys, Op::ping}) {
    CHECK(bench.read(op, 0, kLine) == Status::ok);
    CHECK(bench.read(op, 1, kLine) == Status::bad_request);
    CHECK(bench.read(op, 1025, kLine) == Status::bad_request);
  }
}

TEST_CASE("unknown operations are unsupported, whatever else they say") {
  Bench bench;
  for (uint32_t op = 0; op < 256; ++op) {
    const bool known = op >= kOpFirst && op <= kOpLast;
    CHECK((bench.read_raw(static_cast<uint8_t>(op), 8, 0) == Status::unsupported) == !known);
    CHECK((bench.read_raw(static_cast<uint8_t>(op), 8, 0xff) == Status::unsupported) == !known);
  }
}

TEST_CASE("modes: two bits of placement, two of condition, four that must be 0") {
  Bench bench;
  bench.line() = {};
  for (uint32_t mode = 0; mode < 256; ++mode) {
    const bool put_valid = mode < 16 && (mode & 3) <= kBulk;
    CHECK((bench.read(Op::put, 8, mode) == Status::ok) == put_valid);
    // A condition makes sense with a put only; a value of its own place with get and put.
    CHECK((bench.read(Op::get, 8, mode) == Status::ok) == (mode <= kBulk));
    CHECK((bench.read(Op::del, 8, mode) == Status::ok) == (mode <= kPage));
    CHECK((bench.read(Op::ping, 0, mode) == Status::ok) == (mode <= kPage));
    CHECK((bench.read(Op::keys, 0, mode) == Status::ok) == (mode <= kBulk));
    if (!put_valid) CHECK(bench.pending.status == Status::bad_request);
  }
}

TEST_CASE("a value fits the place that it says it stands in") {
  struct Case {
    uint32_t mode, key_bytes, value_bytes;
    Status status;
  };
  const Case cases[] = {
      {kLine, 8, 0, Status::ok},
      {kLine, 8, 24, Status::ok},
      {kLine, 8, 25, Status::bad_request},
      {kLine, 1, 24, Status::ok},  // the key takes a whole word
      {kLine, 1, 25, Status::bad_request},
      {kLine, 9, 16, Status::ok},
      {kLine, 9, 17, Status::bad_request},
      {kLine, 32, 0, Status::ok},
      {kLine, 32, 1, Status::bad_request},
      {kLine, 8, kValueBytesMax, Status::bad_request},
      {kLine, 8, kValueBytesMax + 1, Status::value_too_large},
      {kPage, 8, kPayloadBytes - 8, Status::ok},
      {kPage, 8, kPayloadBytes - 7, Status::bad_request},
      {kPage, 1, kPayloadBytes - 8, Status::ok},
      {kPage, 1024, kPayloadBytes - 1024, Status::ok},
      {kPage, 1017, kPayloadBytes - 1024, Status::ok},
      {kPage, 1024, kPayloadBytes - 1023, Status::bad_request},
      {kPage, 8, kValueBytesMax + 1, Status::value_too_large},
      {kPage, 8, UINT32_MAX, Status::value_too_large},
      {kPage, 8, UINT32_MAX - 7, Status::value_too_large},
      {kBulk, 8, kValueBytesMax, Status::ok},
      {kBulk, 1024, kValueBytesMax, Status::ok},
      {kBulk, 8, kValueBytesMax + 1, Status::value_too_large},
  };
  Bench bench;
  for (const Case& one : cases) {
    CAPTURE(one.mode, one.key_bytes, one.value_bytes);
    bench.line() = {};
    bench.line().value_bytes = one.value_bytes;
    bench.line().data[1] = one.mode == kBulk ? kGrantedBytes : 0;
    CHECK(bench.read(Op::put, one.key_bytes, one.mode) == one.status);
    // value_bytes of anything but a put is no length of what stands in the request.
    if (one.mode != kBulk) {
      const bool key_fits = one.mode == kPage || one.key_bytes <= 32;
      CHECK((bench.read(Op::get, one.key_bytes, one.mode) == Status::ok) == key_fits);
    }
  }
}

TEST_CASE("a room lies in the granted part of the bulk area") {
  struct Case {
    uint64_t offset, bytes;
    uint32_t value_bytes;
    bool valid;
  };
  const Case cases[] = {
      {0, kGrantedBytes, 100, true},
      {8, kGrantedBytes - 8, 100, true},
      {kGrantedBytes - 8, 8, 8, true},
      {kGrantedBytes, 0, 0, true},
      {kGrantedBytes + 8, 0, 0, false},
      {0, kGrantedBytes + 8, 100, false},
      {8, kGrantedBytes, 100, false},
      {kGrantedBytes, 8, 8, false},
      {4, 96, 8, false},
      {1, 96, 8, false},
      {8, 97, 8, false},
      {0, 96, 97, false},
      {0, 104, 97, true},
      {UINT64_MAX - 7, 8, 8, false},
      {UINT64_MAX - 7, 16, 8, false},
      {8, UINT64_MAX - 7, 8, false},
      {kBulkBytes, 8, 8, false},
  };
  Bench bench;
  for (const Case& one : cases) {
    CAPTURE(one.offset, one.bytes, one.value_bytes);
    bench.line() = {};
    bench.line().value_bytes = one.value_bytes;
    bench.line().data[0] = one.offset;
    bench.line().data[1] = one.bytes;
    CHECK(bench.read(Op::put, 8, kBulk) == (one.valid ? Status::ok : Status::bad_request));
    if (one.valid) CHECK(bench.pending.memory == bench.lane.setup.bulk + one.offset);
    if (one.valid) CHECK(bench.pending.room_bytes == one.bytes);
    // The length of a put must fit its room; a get has none.
    const bool room_valid = one.valid || (one.offset == 0 && one.bytes == 96);
    CHECK(bench.read(Op::get, 8, kBulk) == (room_valid ? Status::ok : Status::bad_request));
  }
  bench.line().data[0] = kGrantedBytes;
  bench.line().data[1] = 8;
  publish<uint64_t>(bench.granted, kGrantedBytes + 4096);
  CHECK(bench.read(Op::get, 8, kBulk) == Status::ok);
}

TEST_CASE("a key is copied before it is used, from line and page") {
  Bench bench;
  for (const uint32_t key_bytes : {1U, 7U, 8U, 9U, 31U, 32U}) {
    const std::string key(key_bytes, static_cast<char>('a' + key_bytes));
    bench.line() = {};
    std::memcpy(bench.line().data, key.data(), key_bytes);
    REQUIRE(bench.read(Op::del, key_bytes) == Status::ok);
    std::memset(bench.line().data, '#', sizeof(bench.line().data));  // the client changes its mind
    CHECK(text(bench.pending.key.data, bench.pending.key.bytes) == key);
    CHECK(bench.pending.key.hash == hash_key(key));
  }
  for (const uint32_t key_bytes : {1U, 33U, 1023U, 1024U}) {
    const std::string key(key_bytes, static_cast<char>('A' + key_bytes % 26));
    std::byte* page = bench.lane.payload_of(1);
    std::memcpy(page, key.data(), key_bytes);
    bench.line() = {};
    REQUIRE(bench.read(Op::put, key_bytes, kPage) == Status::ok);
    CHECK(bench.pending.memory == page + round_up_8(key_bytes));
    std::memset(page, '#', key_bytes);
    CHECK(text(bench.pending.key.data, bench.pending.key.bytes) == key);
    CHECK(bench.pending.key.hash == hash_key(key));
  }
}

TEST_CASE("every number of the line arrives in the copy") {
  Bench bench;
  bench.line() = {};
  bench.line().value_bytes = 5;
  bench.line().user_flags = 0x12345678;
  bench.line().argument = 0x1122334455667788;
  bench.line().ttl_ms = 0x9abcdef0;
  REQUIRE(bench.read(Op::put, 9, 3U << 2) == Status::ok);
  const Pending& p = bench.pending;
  CHECK(p.lane == &bench.lane);
  CHECK(p.slot_index() == 1);
  CHECK(p.seq == 7);
  CHECK(p.ticket().slot == 1);
  CHECK(p.ticket().seq == 7);
  CHECK(p.op == static_cast<uint8_t>(Op::put));
  CHECK(p.condition == static_cast<uint8_t>(Condition::if_version));
  CHECK(p.value_bytes == 5);
  CHECK(p.user_flags == 0x12345678);
  CHECK(p.argument == 0x1122334455667788);
  CHECK(p.ttl_ms == 0x9abcdef0);
  CHECK(p.path == Path::general);
  CHECK(p.memory == reinterpret_cast<std::byte*>(&bench.line().data[2]));
}
