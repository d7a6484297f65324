// SPDX-License-Identifier: Apache-2.0
// The short ways of plain gets and puts read what read_request reads, and take nothing else.
#include <cstring>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "daemon/request.hpp"
#include "sim/in_process.hpp"

using namespace copykv;

namespace {

constexpr uint32_t kSeq = 7;

struct Bench {
  Bench() {
    lane.attach(seat.setup(false));
    lane.next_slot = 1;
    lane.seq = kSeq;
  }
  Slot& slot() { return seat.slot(1); }
  Pending read_whole(uint64_t head, const RequestLimits& limits = {}) {
    Pending pending;
    read_request(lane, head, limits, key_room, pending);
    return pending;
  }

  sim::Seat seat{SegmentGeometry{0, 1, 4, 4096, 4096}, 1};
  Lane lane{};
  alignas(kCacheLineBytes) std::byte key_room[kKeyBytesMax];
};

uint64_t head_of(Op op, uint32_t key_bytes, uint32_t mode = 0) {
  return RequestHead{kSeq, static_cast<uint8_t>(op), static_cast<uint8_t>(mode),
                     static_cast<uint16_t>(key_bytes)}
      .pack();
}

void require_same(const Pending& shorter, const Pending& whole) {
  REQUIRE(whole.status == Status::ok);
  REQUIRE(shorter.status == Status::ok);
  REQUIRE(shorter.key.bytes == whole.key.bytes);
  REQUIRE(shorter.key.hash == whole.key.hash);
  REQUIRE(std::memcmp(shorter.key.data, whole.key.data, whole.key.bytes) == 0);
  REQUIRE(shorter.path == whole.path);
  REQUIRE(shorter.op == whole.op);
  REQUIRE(shorter.placement == whole.placement);
  REQUIRE(shorter.condition == whole.condition);
  REQUIRE(shorter.room_bytes == whole.room_bytes);
  REQUIRE(shorter.ticket().seq == whole.ticket().seq);
  REQUIRE(shorter.ticket().slot == whole.ticket().slot);
}

}  // namespace

TEST_CASE("a plain get is read as read_request reads it") {
  Bench bench;
  Random random(3);
  for (uint32_t round = 0; round < 5'000; ++round) {
    for (uint64_t& word : bench.slot().request.data) word = random.next();
    const auto key_bytes = static_cast<uint32_t>(1 + random.below(32));
    const uint64_t head = head_of(Op::get, key_bytes);
    REQUIRE(is_plain(head, Op::get));
    REQUIRE(((head ^ kSeq) == plain_of_8(Op::get)) == (key_bytes == 8));
    Pending shorter;
    read_plain(bench.lane, kSeq, key_bytes, bench.slot(), Path::plain_get, shorter);
    shorter.widen();
    require_same(shorter, bench.read_whole(head));
  }
}

TEST_CASE("a plain put is taken exactly when it has nothing but a short value, and read alike") {
  Bench bench;
  Random random(4);
  uint32_t plain = 0;
  for (uint32_t round = 0; round < 20'000; ++round) {
    RequestLine& line = bench.slot().request;
    for (uint64_t& word : line.data) word = random.next();
    const auto key_bytes = static_cast<uint32_t>(1 + random.below(32));
    line.value_bytes =
        static_cast<uint32_t>(random.below(8) == 0 ? random.next() : random.below(40));
    line.user_flags = random.below(4) == 0 ? static_cast<uint32_t>(random.next()) : 0;
    line.ttl_ms = random.below(4) == 0 ? static_cast<uint32_t>(random.next()) : 0;
    line.argument = random.next();  // means nothing without a condition
    const RequestLimits limits{.value_bytes_max = static_cast<uint32_t>(random.below(40))};
    const uint64_t head = head_of(Op::put, key_bytes);
    REQUIRE(is_plain(head, Op::put));
    const Pending whole = bench.read_whole(head, limits);
    Pending shorter;
    const bool taken = read_plain_put(bench.lane, static_cast<uint32_t>(head >> 48), limits,
                                      bench.slot(), shorter);
    REQUIRE(taken == (whole.status == Status::ok && line.user_flags == 0 && line.ttl_ms == 0));
    if (!taken) continue;
    ++plain;
    shorter.widen();
    require_same(shorter, whole);
    REQUIRE(shorter.value_bytes == whole.value_bytes);
    REQUIRE(shorter.user_flags == whole.user_flags);
    REQUIRE(shorter.ttl_ms == whole.ttl_ms);
    REQUIRE(shorter.memory == whole.memory);
  }
  REQUIRE(plain > 500);
}

TEST_CASE("only an operation with its key in the line and nothing else is plain") {
  for (uint32_t key_bytes = 0; key_bytes < 1'100; ++key_bytes) {
    const bool fits = key_bytes >= 1 && key_bytes <= 32;
    REQUIRE(is_plain(head_of(Op::get, key_bytes), Op::get) == fits);
    REQUIRE(is_plain(head_of(Op::put, key_bytes), Op::put) == fits);
  }
  for (uint32_t mode = 1; mode < 256; ++mode) {
    REQUIRE_FALSE(is_plain(head_of(Op::get, 8, mode), Op::get));
    REQUIRE_FALSE(is_plain(head_of(Op::put, 8, mode), Op::put));
  }
  for (uint32_t op = 0; op < 256; ++op) {
    const uint64_t head = head_of(static_cast<Op>(op), 8);
    REQUIRE(is_plain(head, Op::get) == (op == static_cast<uint32_t>(Op::get)));
    REQUIRE(is_plain(head, Op::put) == (op == static_cast<uint32_t>(Op::put)));
  }
}
