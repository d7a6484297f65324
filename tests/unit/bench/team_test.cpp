// SPDX-License-Identifier: Apache-2.0
// Ranks that go in step, and what happens when one of them does not.
#include "bench/team.hpp"

#include <functional>
#include <map>
#include <set>
#include <string>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "bench/order.hpp"

namespace copykv::bench {
namespace {

/// The keys that all ranks see, under time that moves only while somebody waits.
struct SharedKeys {
  std::map<std::string, std::string> notes{};
  std::set<std::string> asked{};
  ManualClock clock{};
  /// Called at each pause: what the other ranks do meanwhile.
  std::function<void()> meanwhile = [] {};
};

class FakeBoard final : public Board {
 public:
  explicit FakeBoard(SharedKeys& keys) : keys_(keys) {}
  Status put(std::string_view key, std::string_view value) override {
    keys_.asked.emplace(key);
    if (fault != Status::ok) return fault;
    keys_.notes[std::string(key)] = value;
    return Status::ok;
  }
  Status get(std::string_view key, std::string& value) override {
    keys_.asked.emplace(key);
    if (fault != Status::ok) return fault;
    const auto found = keys_.notes.find(std::string(key));
    if (found == keys_.notes.end()) return Status::not_found;
    value = found->second;
    return Status::ok;
  }
  [[nodiscard]] uint64_t now_ns() const override { return keys_.clock.now_ns(); }
  void pause() override {
    keys_.clock.advance_ns(kNanosPerMilli);
    keys_.meanwhile();
  }

  Status fault = Status::ok;  ///< how everything ends

 private:
  SharedKeys& keys_;
};

/// A rank of a team of `ranks`. Every second key stands on rank 0.
struct Member {
  Member(SharedKeys& keys, uint32_t rank, uint32_t ranks)
      : board(keys), team(&board, {rank, ranks, "benchkv/x", [](std::string_view key) {
                                     return (key.back() - '0') % 2 == 1;
                                   }}) {}
  FakeBoard board;
  Team team;
};

constexpr auto kNoTrouble = [] { return std::string(); };
constexpr uint64_t kPatienceNs = 10 * kNanosPerSecond;

}  // namespace

TEST_CASE("a round: everybody's note reaches rank 0, and its word everybody") {
  SharedKeys keys;
  Member leader(keys, 0, 3);
  Member first(keys, 1, 3);
  Member second(keys, 2, 3);
  for (int round = 0; round < 12; ++round) {
    const std::string suffix = std::to_string(round);
    REQUIRE(first.team.deliver("first " + suffix));
    REQUIRE(second.team.deliver("second " + suffix));
    const Team::Notes notes = leader.team.gather(kPatienceNs, kNoTrouble);
    CHECK(notes.failure.empty());
    REQUIRE(notes.by_rank.size() == 3);
    CHECK_FALSE(notes.by_rank[0]);
    CHECK(notes.by_rank[1] == "first " + suffix);
    CHECK(notes.by_rank[2] == "second " + suffix);
    REQUIRE(leader.team.announce("go " + suffix));
    CHECK(*first.team.await(kPatienceNs) == "go " + suffix);
    CHECK(*second.team.await(kPatienceNs) == "go " + suffix);
  }
  CHECK(keys.clock.now_ns() == 0);  // nobody waited
  for (const std::string& key : keys.asked) {
    CHECK(key.starts_with("benchkv/x/"));
    CHECK((key.back() - '0') % 2 == 1);  // on rank 0, all of them
  }
}

TEST_CASE("rank 0 waits for who is late") {
  SharedKeys keys;
  Member leader(keys, 0, 2);
  Member late(keys, 1, 2);
  keys.meanwhile = [&] {
    if (keys.clock.now_ns() == 3 * kNanosPerSecond) CHECK(late.team.deliver("here"));
  };
  const Team::Notes notes = leader.team.gather(kPatienceNs, kNoTrouble);
  CHECK(notes.failure.empty());
  CHECK(notes.by_rank[1] == "here");
  CHECK(keys.clock.now_ns() == 3 * kNanosPerSecond);
}

TEST_CASE("rank 0 does not wait for ever, and says who is missing") {
  SharedKeys keys;
  Member leader(keys, 0, 4);
  Member second(keys, 2, 4);
  REQUIRE(second.team.deliver("here"));
  const Team::Notes notes = leader.team.gather(kPatienceNs, kNoTrouble);
  CHECK(notes.failure == "2 of 4 ranks reported; nothing came from rank 1, 3: within 10.0 s");
  CHECK(notes.by_rank[2] == "here");
  CHECK(keys.clock.now_ns() == kPatienceNs);
}

TEST_CASE("trouble cuts the wait short, but not what the others still have to say") {
  SharedKeys keys;
  Member leader(keys, 0, 3);
  Member second(keys, 2, 3);
  keys.meanwhile = [&] {
    if (keys.clock.now_ns() == 2 * kNanosPerSecond) CHECK(second.team.deliver("last words"));
  };
  const Team::Notes notes =
      leader.team.gather(300 * kNanosPerSecond, [] { return std::string("rank 1 has died"); });
  CHECK(notes.by_rank[2] == "last words");
  CHECK(notes.failure == "2 of 3 ranks reported; nothing came from rank 1: rank 1 has died");
  CHECK(keys.clock.now_ns() < 5 * kNanosPerSecond);
}

TEST_CASE("the others do not wait for ever for rank 0") {
  SharedKeys keys;
  Member other(keys, 1, 2);
  const auto order = other.team.await(kPatienceNs);
  REQUIRE_FALSE(order);
  CHECK(order.error.find("rank 0 said nothing within 10.0 s") == 0);
  CHECK(keys.clock.now_ns() == kPatienceNs);
}

TEST_CASE("a lost owner of the notes is told at once, to rank 0 as to the others") {
  for (const Status fault : {Status::unreachable, Status::disconnected, Status::indeterminate}) {
    SharedKeys keys;
    Member leader(keys, 0, 2);
    Member other(keys, 1, 2);
    REQUIRE(other.team.deliver("here"));
    REQUIRE(leader.team.gather(kPatienceNs, kNoTrouble).failure.empty());
    leader.board.fault = other.board.fault = fault;
    const Team::Notes notes = leader.team.gather(kPatienceNs, kNoTrouble);
    CHECK(notes.failure.find("its own copykvd does not take them") != std::string::npos);
    CHECK_FALSE(leader.team.announce("go"));
    const auto order = other.team.await(kPatienceNs);
    REQUIRE_FALSE(order);
    CHECK(order.error.find("cannot be reached any more") != std::string::npos);
    CHECK(order.error.find(to_string(fault)) != std::string::npos);
    const auto delivered = other.team.deliver("more");
    CHECK_FALSE(delivered);
    CHECK(keys.clock.now_ns() == 0);
  }
}

TEST_CASE("before they have met, rank 0 may still be on its way") {
  SharedKeys keys;
  Member other(keys, 1, 2);
  other.board.fault = Status::unreachable;
  keys.meanwhile = [&] {
    if (keys.clock.now_ns() == 4 * kNanosPerSecond) other.board.fault = Status::ok;
  };
  CHECK(other.team.deliver("here"));
  CHECK(keys.clock.now_ns() == 4 * kNanosPerSecond);
  Member third(keys, 1, 2);
  third.board.fault = Status::unreachable;
  CHECK_FALSE(third.team.deliver("here"));
}

TEST_CASE("the others learn that rank 0 has ended by its keys") {
  SharedKeys keys;
  Member other(keys, 1, 2);
  keys.meanwhile = [&] {
    if (keys.clock.now_ns() == kNanosPerSecond) other.board.fault = Status::unreachable;
  };
  other.team.await_end_of_rank_0(kPatienceNs);
  CHECK(keys.clock.now_ns() == kNanosPerSecond);
  other.board.fault = Status::ok;
  keys.meanwhile = [] {};
  other.team.await_end_of_rank_0(kPatienceNs);
  CHECK(keys.clock.now_ns() == kNanosPerSecond + kPatienceNs);
}

TEST_CASE("a team of one waits for nobody and needs no board") {
  Team team(nullptr, {0, 1, "benchkv/x", {}});
  const Team::Notes notes = team.gather(kPatienceNs, kNoTrouble);
  CHECK(notes.failure.empty());
  CHECK(notes.by_rank.size() == 1);
  CHECK(team.announce("go"));
}

TEST_CASE("orders arrive as they were given") {
  const Order order{true, 123, 456, "boot"};
  const auto back = Order::unpack(order.pack());
  REQUIRE(back);
  CHECK(back->run);
  CHECK(back->start_ns == 123);
  CHECK(back->duration_ns == 456);
  CHECK(back->boot == "boot");
  const std::string packed = order.pack();
  CHECK_FALSE(Order::unpack(std::string_view(packed).substr(0, packed.size() - 1)));
  CHECK_FALSE(Order::unpack(std::string_view()).has_value());
}

TEST_CASE("a start is one moment where the clock is one, else it is soon") {
  const uint64_t now_ns = 500 * kNanosPerSecond;
  const Order order{true, now_ns + 7, 0, "here"};
  CHECK(start_of(order, "here", now_ns, 1000) == now_ns + 7);
  CHECK(start_of(order, "here", now_ns + 10, 1000) == now_ns + 7);  // late by 3 ns
  CHECK(start_of(order, "elsewhere", now_ns, 1000) == now_ns + 1000);
  CHECK(start_of({true, now_ns, 0, ""}, "", now_ns, 1000) == now_ns + 1000);
  // One machine, but a clock of its own.
  CHECK(start_of(order, "here", 5 * kNanosPerSecond, 1000) == 5 * kNanosPerSecond + 1000);
  CHECK_FALSE(boot_id().empty());
}

}  // namespace copykv::bench
