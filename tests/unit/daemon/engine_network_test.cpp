// SPDX-License-Identifier: Apache-2.0
// Keys of other ranks: what goes to the network, and how answers come back to the slots, in any
// order, also when the client has gone.
#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "sim/in_process.hpp"
#include "tests/unit/daemon/raw_lane.hpp"

using namespace copykv;
using sim::InProcessDaemon;
using test::RawLane;

namespace {

/// Keeps each call until the test answers it.
class FakeNetwork final : public Network {
 public:
  struct Call {
    uint32_t owner;
    Ticket ticket;
    uint8_t op;
    std::string key;
    std::string value;  ///< of a put
  };

  Sent call(const Pending& request) noexcept override {
    const Sent sent = calls.size() == calls_max ? Sent::full : refuses;
    refused += sent != Sent::accepted;
    if (sent == Sent::accepted) take(request);
    return sent;
  }
  uint32_t call_plain(std::span<const Pending> requests, Sent& sent) noexcept override {
    uint32_t accepted = 0;
    for (; accepted < requests.size() && is_remote(requests[accepted].path); ++accepted) {
      sent = call(requests[accepted]);
      if (sent != Sent::accepted) break;
    }
    return accepted;
  }
  uint32_t take_answers(std::span<RemoteAnswer> into) noexcept override {
    delivered.clear();
    while (delivered.size() < into.size() && !answers.empty()) {
      const Answer& next = delivered.emplace_back(std::move(answers.front()));
      answers.pop_front();
      RemoteAnswer& answer = into[delivered.size() - 1];
      answer = next.answer;
      answer.ticket = next.ticket;
      if (next.value.empty()) continue;
      answer.value = reinterpret_cast<const std::byte*>(next.value.data());
      answer.value_bytes = static_cast<uint32_t>(next.value.size());
    }
    return static_cast<uint32_t>(delivered.size());
  }
  void reply_plain(std::span<const RemoteRequest>) noexcept override {}
  void reply(const RemoteRequest&, const StoreAnswer&, uint32_t) noexcept override {}
  void flush() noexcept override { ++flushes; }
  bool busy() const noexcept override { return !calls.empty() || !answers.empty(); }

  /// The answer of calls[index] is delivered in the next turn.
  void answer(size_t index, const RemoteAnswer& with, std::string value = {}) {
    answers.push_back({calls[index].ticket, with, std::move(value)});
    calls.erase(calls.begin() + static_cast<ptrdiff_t>(index));
  }

  Sent refuses = Sent::accepted;
  uint32_t refused = 0;
  size_t calls_max = 1'000'000;  ///< then it is full
  uint32_t flushes = 0;
  std::vector<Call> calls;

 private:
  struct Answer {
    Ticket ticket;
    RemoteAnswer answer;
    std::string value;
  };
  void take(Pending request) {
    if (request.path != Path::general) request.widen();
    Call& made = calls.emplace_back();
    made.owner = request.owner;
    made.ticket = request.ticket();
    made.op = request.op;
    made.key.assign(static_cast<const char*>(request.key.data), request.key.bytes);
    if (request.op == static_cast<uint8_t>(Op::put)) {
      made.value.assign(reinterpret_cast<const char*>(request.memory), request.value_bytes);
    }
  }
  std::deque<Answer> answers;
  std::deque<Answer> delivered;  ///< their values are valid until the next
};

/// Two ranks of one daemon each; every key but "local..." belongs to the other.
struct Scene {
  explicit Scene(uint32_t depth = 4)
      : daemon({.rank_count = 2, .network = &network}),
        seat(daemon.attach({0, 1, depth, 8192, 64 * 1024})),
        lane(*seat) {
    for (uint16_t& owner : daemon.rank().partition_owner) owner = 1;
    for (const char* key : {"local", "local2"}) {
      daemon.rank().partition_owner[partition_of(hash_key(key))] = 0;
    }
    daemon.settle();
  }
  void turns(uint32_t count) {
    for (uint32_t turn = 0; turn < count; ++turn) {
      (void)daemon.turn();
      REQUIRE(daemon.engine().is_valid());
    }
  }

  FakeNetwork network;
  InProcessDaemon daemon;
  std::unique_ptr<sim::Seat> seat;
  RawLane lane;
};

const RemoteAnswer kOk{.status = Status::ok};

}  // namespace

TEST_CASE("requests go to their owner with everything that they said") {
  Scene scene;
  (void)scene.lane.send(Op::get, "remote-1");
  const uint32_t local = scene.lane.send(Op::put, "local", "value");
  (void)scene.lane.send(Op::put, "remote-2", "a value",
                        {.placement = Placement::page, .user_flags = 9});
  (void)scene.lane.send(Op::del, "remote-3");
  scene.turns(1);
  CHECK(scene.lane.status(local) == Status::ok);
  REQUIRE(scene.network.calls.size() == 3);
  CHECK(scene.network.calls[0].owner == 1);
  CHECK(scene.network.calls[0].key == "remote-1");
  CHECK(scene.network.calls[0].op == static_cast<uint8_t>(Op::get));
  CHECK(scene.network.calls[1].key == "remote-2");
  CHECK(scene.network.calls[1].value == "a value");
  CHECK(scene.network.calls[2].key == "remote-3");
  CHECK(scene.network.flushes > 0);
  CHECK(scene.daemon.block().remote_calls == 3);
  for (const uint32_t slot : {0U, 2U, 3U}) CHECK_FALSE(scene.lane.answered(slot));
}

TEST_CASE("answers fill the slots that asked, in whatever order they come") {
  Scene scene(64);
  for (uint16_t& owner : scene.daemon.rank().partition_owner) owner = 1;
  Random random(5);
  uint32_t answered = 0;
  uint64_t sent = 0;
  std::vector<std::string> asked(64);
  for (uint32_t round = 0; round < 3'000; ++round) {
    for (uint64_t more = random.below(8); more > 0; --more) {
      // A slot is asked again only when it was answered: invariant I1 of the slot.
      const uint32_t slot = scene.lane.next();
      if (scene.lane.lap() > 1) {
        if (!scene.lane.answered(slot)) break;
        REQUIRE(scene.lane.status(slot) == Status::ok);
        REQUIRE(scene.lane.value(slot) == "answer to " + asked[slot]);
        ++answered;
      }
      asked[slot] = "remote-" + std::to_string(sent++);
      (void)scene.lane.send(Op::get, asked[slot]);
    }
    scene.turns(1);
    for (uint64_t more = random.below(8); more > 0 && !scene.network.calls.empty(); --more) {
      const size_t index = random.below(scene.network.calls.size());
      scene.network.answer(index, kOk, "answer to " + scene.network.calls[index].key);
    }
  }
  REQUIRE(answered > 5'000);
}

TEST_CASE("a lane leaves the queue when its next slot is in flight, and returns with the answer") {
  Scene scene(2);
  const uint32_t first = scene.lane.send(Op::get, "remote-1");
  const uint32_t second = scene.lane.send(Op::get, "remote-2");
  scene.turns(3);
  REQUIRE(scene.network.calls.size() == 2);
  REQUIRE(scene.daemon.engine().has_work());  // answers are awaited: keep polling

  // The second is answered; the next in ring order is the first, which is not.
  scene.network.answer(1, kOk, "two");
  scene.turns(2);
  CHECK(scene.lane.value(second) == "two");
  CHECK_FALSE(scene.lane.answered(first));
  // A client that does not wait for the answer is not served before it.
  (void)scene.lane.send(Op::put, "local", "too early");
  scene.turns(50);
  CHECK(scene.daemon.store().counters().items == 0);

  scene.network.answer(0, kOk, "one");
  scene.turns(3);
  CHECK(scene.daemon.store().counters().items == 1);
  const uint32_t next = scene.lane.send(Op::get, "local");
  scene.turns(2);
  REQUIRE(scene.lane.answered(next));
  CHECK(scene.lane.value(next) == "too early");
  CHECK_FALSE(scene.daemon.engine().has_work());
}

TEST_CASE("a client that asks again in a slot whose call is in flight waits for its answer") {
  Scene scene(1);
  const uint32_t slot = scene.lane.send(Op::get, "remote-1");
  scene.turns(1);
  REQUIRE(scene.network.calls.size() == 1);
  (void)scene.lane.send(Op::get, "remote-2");  // the same slot, before the next look at the lane
  scene.turns(20);
  REQUIRE(scene.network.calls.size() == 1);
  scene.network.answer(0, kOk, "one");
  scene.turns(2);
  CHECK(head_seq(scene.lane.response(slot).head) == 1);
  REQUIRE(scene.network.calls.size() == 1);
  CHECK(scene.network.calls[0].key == "remote-2");
  scene.network.answer(0, kOk, "two");
  scene.turns(2);
  REQUIRE(scene.lane.answered(slot));
  CHECK(scene.lane.value(slot) == "two");
}

TEST_CASE("full means later, in order, and nothing is sent twice") {
  Scene scene(8);
  scene.network.refuses = Network::Sent::full;
  for (uint32_t index = 0; index < 8; ++index) {
    (void)scene.lane.send(Op::get, "remote-" + std::to_string(index));
  }
  scene.turns(10);
  CHECK(scene.network.calls.empty());
  CHECK(scene.network.refused == 10);  // the lane stops at the first
  CHECK(scene.daemon.block().deferred == 10);
  CHECK(scene.daemon.engine().has_work());
  scene.network.refuses = Network::Sent::accepted;
  scene.turns(2);
  REQUIRE(scene.network.calls.size() == 8);
  for (uint32_t index = 0; index < 8; ++index) {
    CHECK(scene.network.calls[index].key == "remote-" + std::to_string(index));
  }
}

TEST_CASE("what does not go along with the rest of its group goes later, in order") {
  Scene scene(8);
  scene.network.calls_max = 3;
  std::vector<uint32_t> local;
  for (uint32_t index = 0; index < 6; ++index) {
    if (index == 2) local.push_back(scene.lane.send(Op::put, "local", "a"));
    if (index == 4) local.push_back(scene.lane.send(Op::put, "local", "b"));
    (void)scene.lane.send(index % 2 == 0 ? Op::get : Op::put, "remote-" + std::to_string(index),
                          index % 2 == 0 ? "" : "value");
  }
  scene.turns(1);
  REQUIRE(scene.network.calls.size() == 3);
  CHECK(scene.lane.answered(local[0]));
  CHECK_FALSE(scene.lane.answered(local[1]));  // behind the one that has to wait
  scene.network.calls_max = 6;
  scene.turns(2);
  REQUIRE(scene.network.calls.size() == 6);
  for (uint32_t index = 0; index < 6; ++index) {
    CHECK(scene.network.calls[index].key == "remote-" + std::to_string(index));
    CHECK(scene.network.calls[index].op ==
          static_cast<uint8_t>(index % 2 == 0 ? Op::get : Op::put));
    CHECK(scene.network.calls[index].value == (index % 2 == 0 ? "" : "value"));
  }
  CHECK(scene.lane.answered(local[1]));
  CHECK(scene.daemon.block().remote_calls == 6);
}

TEST_CASE("an owner that nobody reaches is answered at once") {
  Scene scene;
  scene.network.refuses = Network::Sent::unreachable;
  const uint32_t get = scene.lane.send(Op::get, "remote");
  const uint32_t put = scene.lane.send(Op::put, "remote", "v");
  const uint32_t local = scene.lane.send(Op::put, "local", "v");
  scene.turns(2);
  CHECK(scene.lane.status(get) == Status::unreachable);
  CHECK(scene.lane.status(put) == Status::unreachable);
  CHECK(scene.lane.status(local) == Status::ok);
  CHECK_FALSE(scene.daemon.engine().has_work());
}

TEST_CASE("without a network every other owner is unreachable") {
  InProcessDaemon daemon({.rank_count = 2});
  for (uint16_t& owner : daemon.rank().partition_owner) owner = 1;
  const auto seat = daemon.attach({0, 1, 2, 4096, 0});
  RawLane lane(*seat);
  const uint32_t get = lane.send(Op::get, "remote");
  daemon.settle();
  REQUIRE(lane.answered(get));
  CHECK(lane.status(get) == Status::unreachable);
}

TEST_CASE("an answer arrives with status, flags, version, value and number") {
  Scene scene;
  const auto ask = [&](Op op, const RemoteAnswer& with, const std::string& value = {}) {
    const uint32_t slot = scene.lane.send(op, "remote");
    scene.turns(1);
    REQUIRE(scene.network.calls.size() == 1);
    scene.network.answer(0, with, value);
    scene.turns(1);
    REQUIRE(scene.lane.answered(slot));
    return slot;
  };
  for (uint8_t status = 0; status < kStatusCount; ++status) {
    const uint32_t slot =
        ask(Op::get, {.status = static_cast<Status>(status), .user_flags = 3, .version = 44});
    CHECK(scene.lane.status(slot) == static_cast<Status>(status));
    CHECK(scene.lane.response(slot).user_flags == 3);
    CHECK(scene.lane.response(slot).version == 44);
  }
  const uint32_t sum = ask(Op::add, {.status = Status::ok, .number = -5});
  CHECK(static_cast<int64_t>(scene.lane.response(sum).data[0]) == -5);
  for (const size_t bytes : {1U, 8U, 40U, 41U, 4'096U, 8'192U}) {
    const std::string value(bytes, static_cast<char>('a' + bytes % 26));
    const uint32_t slot = ask(Op::get, kOk, value);
    CHECK(scene.lane.value(slot) == value);
    CHECK(response_placement(scene.lane.response(slot).head) ==
          (bytes <= 40 ? Placement::line : Placement::page));
  }
  // More than the slot's payload has no place in it; the client hears the size.
  const uint32_t large = ask(Op::get, kOk, std::string(8'193, 'x'));
  CHECK(scene.lane.status(large) == Status::buffer_too_small);
  CHECK(scene.lane.response(large).value_bytes == 8'193);
}

TEST_CASE("a client that goes with calls in flight is freed after the last answer") {
  Scene scene(8);
  for (uint32_t index = 0; index < 8; ++index) {
    (void)scene.lane.send(Op::get, "remote-" + std::to_string(index));
  }
  scene.turns(2);
  REQUIRE(scene.network.calls.size() == 8);
  std::vector<uint64_t> heads;
  for (uint32_t slot = 0; slot < 8; ++slot) heads.push_back(scene.lane.response(slot).head);
  scene.daemon.detach(*scene.seat);
  while (!scene.network.calls.empty()) {
    scene.turns(5);
    REQUIRE_FALSE(scene.seat->closed());
    REQUIRE(scene.daemon.engine().has_work());
    scene.network.answer(scene.network.calls.size() / 2, kOk, "late");
  }
  scene.turns(2);
  REQUIRE(scene.seat->closed());
  REQUIRE(scene.daemon.block().lanes == 0);
  for (uint32_t slot = 0; slot < 8; ++slot) {
    CHECK(scene.lane.response(slot).head == heads[slot]);  // nobody's memory any more
  }
}

TEST_CASE("a lane with calls in flight and a large value keeps both apart") {
  Scene scene(4);
  const std::string value(20'000, 'v');
  const uint32_t remote = scene.lane.send(Op::get, "remote-1");
  const uint32_t large = scene.lane.send(
      Op::put, "local", value, {.placement = Placement::bulk, .bulk_bytes = value.size()});
  const uint32_t behind = scene.lane.send(Op::get, "remote-2");
  scene.turns(3);
  REQUIRE(scene.network.calls.size() == 1);
  scene.network.answer(0, kOk, "one");  // arrives while the lane is busy
  scene.turns(1);
  CHECK(scene.lane.value(remote) == "one");
  CHECK_FALSE(scene.lane.answered(large));
  scene.turns(50);
  CHECK(scene.lane.status(large) == Status::ok);
  REQUIRE(scene.network.calls.size() == 1);
  scene.network.answer(0, kOk, "two");
  scene.turns(2);
  CHECK(scene.lane.value(behind) == "two");
}

TEST_CASE("a lane that is parked with a call in flight gets its answer") {
  Scene scene(4);
  const auto busy_seat = scene.daemon.attach({1, 1, 2, 4096, 0});
  RawLane busy(*busy_seat);
  const uint32_t remote = scene.lane.send(Op::get, "remote");
  scene.turns(2);
  for (uint32_t round = 0; round < 200 && scene.daemon.block().lanes_parked == 0; ++round) {
    const uint32_t ping = busy.send(Op::ping);
    scene.turns(1);
    REQUIRE(busy.answered(ping));
    scene.daemon.engine().tick();
  }
  REQUIRE(scene.daemon.block().lanes_parked == 1);
  scene.network.answer(0, kOk, "late");
  scene.turns(2);
  CHECK(scene.lane.value(remote) == "late");
  const uint32_t local = scene.lane.send(Op::put, "local", "v");
  scene.turns(17);  // a parked lane is looked at every 16th turn
  REQUIRE(scene.lane.answered(local));
}
