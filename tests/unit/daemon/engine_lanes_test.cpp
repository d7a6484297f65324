// SPDX-License-Identifier: Apache-2.0
// How the engine keeps its lanes: sequences, fairness, parking, a thousand of them, clients that
// go, memory that is not there yet, sleepers.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "sim/in_process.hpp"
#include "tests/unit/daemon/raw_lane.hpp"

using namespace copykv;
using sim::InProcessDaemon;
using sim::Seat;
using test::RawLane;
using test::run;
using test::turn_until_answered;

namespace {

constexpr SegmentGeometry kDeep{0, 1, 64, 8192, 1U << 20};

uint64_t sum_of(const uint64_t (&counters)[16]) {
  uint64_t sum = 0;
  for (const uint64_t counter : counters) sum += counter;
  return sum;
}

}  // namespace

TEST_CASE("a lane that never stops asking does not keep others from being served") {
  InProcessDaemon daemon({});
  const auto busy_seat = daemon.attach({0, 1, 64, 4096, 0});
  const auto quiet_seat = daemon.attach({1, 1, 1, 4096, 0});
  RawLane busy(*busy_seat);
  RawLane quiet(*quiet_seat);
  daemon.settle();
  for (uint32_t index = 0; index < 64; ++index) (void)busy.send(Op::ping);
  for (uint32_t turn = 0; turn < 200; ++turn) {
    const uint32_t slot = quiet.send(Op::ping);
    (void)daemon.turn();
    REQUIRE(quiet.answered(slot));
    while (busy.answered(busy.next())) (void)busy.send(Op::ping);
  }
}

TEST_CASE("a sequence out of order is answered once, counted, and the lane goes on") {
  InProcessDaemon daemon({});
  const auto seat = daemon.attach({0, 1, 2, 4096, 0});
  RawLane lane(*seat);
  daemon.settle();
  for (const uint32_t bad : {2U, 99U, UINT32_MAX}) {
    const uint64_t counted = daemon.block().bad_sequences;
    const RequestHead head{bad, static_cast<uint8_t>(Op::ping), 0, 0};
    publish(seat->slot(0).request.head, head.pack());
    for (uint32_t turn = 0; turn < 100; ++turn) (void)daemon.turn();
    REQUIRE(daemon.block().bad_sequences == counted + 1);
    REQUIRE(head_seq(seat->slot(0).response.head) == bad);
    REQUIRE(response_status(seat->slot(0).response.head) == Status::bad_request);
  }
  // A request in a slot whose turn has not come is not looked at.
  publish(seat->slot(1).request.head, RequestHead{1, static_cast<uint8_t>(Op::ping), 0, 0}.pack());
  for (uint32_t turn = 0; turn < 100; ++turn) (void)daemon.turn();
  REQUIRE(head_seq(seat->slot(1).response.head) == 0);
  REQUIRE(daemon.block().bad_sequences == 3);
  // With the right one both are served, in order.
  const uint32_t first = lane.send(Op::ping);
  REQUIRE(turn_until_answered(daemon, lane, first));
  REQUIRE(lane.status(first) == Status::ok);
  daemon.settle();
  REQUIRE(head_seq(seat->slot(1).response.head) == 1);
  REQUIRE(response_status(seat->slot(1).response.head) == Status::ok);
  REQUIRE(daemon.engine().is_valid());
}

TEST_CASE("a silent lane is parked, costs nothing, and comes back with its next request") {
  InProcessDaemon daemon({});
  const auto busy_seat = daemon.attach({0, 1, 4, 4096, 0});
  const auto silent_seat = daemon.attach({1, 1, 4, 4096, 0});
  RawLane busy(*busy_seat);
  RawLane silent(*silent_seat);
  REQUIRE(run(daemon, silent, Op::put, "k", "v") == Status::ok);
  for (uint32_t turn = 0; turn < 40'000 && daemon.block().lanes_parked == 0; ++turn) {
    REQUIRE(run(daemon, busy, Op::ping) == Status::ok);
  }
  REQUIRE(daemon.block().lanes_parked == 1);
  REQUIRE(daemon.block().lanes == 2);
  REQUIRE_FALSE(daemon.engine().has_work());
  const uint32_t slot = silent.send(Op::get, "k");
  REQUIRE(daemon.engine().has_work());
  REQUIRE(turn_until_answered(daemon, silent, slot, 17));  // looked at every 16th turn
  REQUIRE(silent.value(slot) == "v");
  daemon.engine().tick();
  REQUIRE(daemon.block().lanes_parked == 0);
}

TEST_CASE("the last lane on the ground queue is never parked") {
  InProcessDaemon daemon({});
  const auto seat = daemon.attach({0, 1, 4, 4096, 0});
  for (uint32_t round = 0; round < 100; ++round) daemon.engine().tick();
  for (uint32_t turn = 0; turn < 100; ++turn) (void)daemon.turn();
  for (uint32_t round = 0; round < 100; ++round) daemon.engine().tick();
  REQUIRE(daemon.block().lanes_parked == 0);
  REQUIRE(daemon.engine().is_valid());
}

TEST_CASE("1,000 lanes attach, are served, are parked, are served again and go") {
  constexpr uint32_t kLanes = 1'000;
  InProcessDaemon daemon({.memory_bytes = 16U << 20, .lanes_max = kLanes});
  std::vector<std::unique_ptr<Seat>> seats;
  std::vector<RawLane> lanes;
  lanes.reserve(kLanes);
  for (uint32_t index = 0; index < kLanes; ++index) {
    seats.push_back(daemon.attach({index, 1, 2, 4096, 0}));
    lanes.emplace_back(*seats.back());
    if (index % 200 == 199) daemon.settle();
  }
  const auto all_served = [&](const std::string& value) {
    std::vector<uint32_t> slots;
    for (uint32_t index = 0; index < kLanes; ++index) {
      (void)lanes[index].send(Op::put, fmt::format("key-{}", index), value);
      slots.push_back(lanes[index].send(Op::get, fmt::format("key-{}", index)));
    }
    daemon.settle();
    uint32_t right = 0;
    for (uint32_t index = 0; index < kLanes; ++index) {
      right += static_cast<uint32_t>(lanes[index].answered(slots[index]) &&
                                     lanes[index].value(slots[index]) == value);
    }
    return right;
  };
  REQUIRE(all_served("one") == kLanes);
  REQUIRE(daemon.block().lanes == kLanes);
  for (uint32_t round = 0; round < 2'000 && daemon.block().lanes_parked < kLanes - 1; ++round) {
    daemon.engine().tick();
  }
  REQUIRE(daemon.block().lanes_parked == kLanes - 1);
  REQUIRE(daemon.engine().is_valid());
  REQUIRE(all_served("two") == kLanes);
  daemon.engine().tick();
  REQUIRE(daemon.block().lanes_parked == 0);
  for (uint32_t index = 0; index < kLanes; ++index) {
    daemon.detach(*seats[index]);
    if (index % 200 == 199) daemon.settle();
  }
  for (const auto& seat : seats) REQUIRE(seat->closed());
  REQUIRE(daemon.block().lanes == 0);
  REQUIRE(daemon.engine().is_valid());
}

TEST_CASE("a client that goes with a full ring is freed, and its number can be used again") {
  InProcessDaemon daemon({});
  auto seat = daemon.attach(kDeep);
  daemon.settle();
  for (uint32_t round = 0; round < 5; ++round) {
    RawLane lane(*seat);
    for (uint32_t index = 0; index < 64; ++index) {
      (void)lane.send(Op::put, fmt::format("{}-{}", round, index), "value");
    }
    daemon.detach(*seat);
    REQUIRE(daemon.engine().has_work());
    for (uint32_t turn = 0; turn < 10 && !seat->closed(); ++turn) {
      (void)daemon.turn();
      REQUIRE(daemon.engine().is_valid());
    }
    REQUIRE(seat->closed());
    REQUIRE(daemon.block().lanes == 0);
    seat = daemon.attach(kDeep);  // the same number
    daemon.settle();
    RawLane next(*seat);
    REQUIRE(run(daemon, next, Op::put, "k", "v") == Status::ok);
    daemon.detach(*seat);
    daemon.settle();
    seat = daemon.attach(kDeep);
    daemon.settle();
  }
  REQUIRE(daemon.store().is_valid());
}

TEST_CASE("requests that must wait for memory are put back and lose nothing") {
  InProcessDaemon daemon({.memory_bytes = 32U << 20});
  const auto seat = daemon.attach({0, 1, 16, 8192, 0});
  RawLane lane(*seat);
  const std::string value(4000, 'v');
  uint32_t written = 0;
  // The engine's turn alone: nobody populates memory, until nothing moves any more.
  const auto stuck = [&] { return daemon.block().deferred > 0; };
  while (!stuck() && written < 5'000) {
    while (written < 5'000 && (written < 16 || lane.answered(lane.next()))) {
      if (written >= 16) REQUIRE(lane.status(lane.next()) == Status::ok);
      (void)lane.send(Op::put, fmt::format("key-{}", written), value,
                      {.placement = Placement::page});
      ++written;
    }
    (void)daemon.engine().turn();
    REQUIRE(daemon.engine().is_valid());
  }
  REQUIRE(stuck());
  REQUIRE(daemon.engine().has_work());
  daemon.populate();
  daemon.settle();
  for (uint32_t slot = 0; slot < 16; ++slot) {
    REQUIRE(lane.answered(slot));
    REQUIRE(lane.status(slot) == Status::ok);
  }
  REQUIRE(daemon.store().counters().items == written);
  REQUIRE(sum_of(daemon.block().by_status) == daemon.block().requests);
}

TEST_CASE("idle means idle") {
  InProcessDaemon daemon({});
  REQUIRE_FALSE(daemon.engine().has_work());
  const auto seat = daemon.attach({0, 1, 4, 4096, 0});
  REQUIRE(daemon.engine().has_work());  // the attach itself
  daemon.settle();
  REQUIRE_FALSE(daemon.engine().has_work());
  REQUIRE(daemon.turn() == 0);
  RawLane lane(*seat);
  (void)lane.send(Op::ping);
  REQUIRE(daemon.engine().has_work());
  REQUIRE(daemon.turn() == 1);
  REQUIRE_FALSE(daemon.engine().has_work());
}

TEST_CASE("a client that announced its sleep is woken, and only then") {
  InProcessDaemon daemon({});
  const auto seat = daemon.attach({0, 1, 4, 4096, 0});
  RawLane lane(*seat);
  auto& control =
      *reinterpret_cast<ClientControl*>(seat->base() + seat->geometry().control_offset());
  REQUIRE(run(daemon, lane, Op::ping) == Status::ok);
  REQUIRE(daemon.block().wakes_sent == 0);
  poke<uint32_t>(control.sleeping, 1);
  REQUIRE(run(daemon, lane, Op::ping) == Status::ok);
  REQUIRE(daemon.block().wakes_sent == 1);
  REQUIRE(peek(control.sleeping) == 0);
}
