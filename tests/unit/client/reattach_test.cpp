// SPDX-License-Identifier: Apache-2.0
// From one daemon to the next: what was in flight ends as what it is, and nothing of the attachment
// that is gone is taken for a part of the new one.
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/unit/client/rank.hpp"

using namespace copykv;
using test::Rank;

TEST_CASE("reattach by hand: what was in flight ends, then the next daemon serves") {
  Rank rank;
  Client kv = rank.client();
  const uint64_t epoch = kv.info().epoch;
  REQUIRE(kv.put("k", std::string(100'000, 'v')).ok());
  rank.freeze();
  REQUIRE(kv.submit_put("k", std::string(100'000, 'w'), 1) == Status::ok);
  REQUIRE(kv.submit_get("k", 2) == Status::ok);
  rank.daemon.kill();
  CHECK_FALSE(kv.reattach().empty());
  CHECK_FALSE(kv.connected());
  CHECK(kv.in_flight() == 2);
  rank.daemon.start();
  REQUIRE(kv.reattach().empty());
  CHECK(kv.connected());
  CHECK(kv.info().epoch != epoch);
  CHECK(kv.put("new", std::string(200'000, 'x')).ok());
  std::array<Completion, 4> done;
  REQUIRE(kv.poll(done) == 2);
  CHECK(done[0].tag == 1);
  CHECK(done[0].result.status == Status::indeterminate);
  CHECK(done[1].tag == 2);
  CHECK(done[1].result.status == Status::disconnected);
  CHECK(kv.in_flight() == 0);
  CHECK(kv.get("new").value_bytes == 200'000);
  CHECK(kv.get("k").status == Status::not_found);  // the new daemon is empty
}

TEST_CASE("reattach while the daemon lives leaves no second client behind") {
  Rank rank;
  Client kv = rank.client();
  REQUIRE(kv.put("k", "v").ok());
  for (uint32_t round = 0; round < 5; ++round) {
    REQUIRE(kv.submit_get("k", round) == Status::ok);
    REQUIRE(kv.reattach().empty());
    std::array<Completion, 2> done;
    REQUIRE(kv.poll(done) == 1);
    CHECK(done[0].tag == round);
  }
  for (uint32_t attempt = 0; attempt < 500; ++attempt) {
    if (rank.daemon.resources().client_memfds == 1) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  CHECK(rank.daemon.resources().client_memfds == 1);
  CHECK(kv.get("k").value == "v");
}

TEST_CASE("reattach by itself: only the call that was cut off fails") {
  Rank rank;
  Client kv = rank.client({.reattach = true});
  REQUIRE(kv.put("k", "v").ok());
  rank.daemon.kill();
  CHECK(kv.get("k").status == Status::disconnected);
  CHECK(kv.get("k").status == Status::disconnected);  // nobody is there yet
  rank.daemon.start();
  CHECK(kv.get("k").status == Status::not_found);
  CHECK(kv.put("k", std::string(100'000, 'v')).ok());
  // Also from submit, with operations of the dead daemon in flight.
  rank.freeze();
  REQUIRE(kv.submit_put("k", "w", 1) == Status::ok);
  rank.daemon.kill();
  rank.daemon.start();
  CHECK(kv.get("k").status == Status::disconnected);  // asked the old one
  REQUIRE(kv.submit_put("k", "x", 2) == Status::ok);
  std::array<Completion, 4> done;
  size_t taken = 0;
  while (kv.in_flight() > 0) taken += kv.wait(std::span(done).subspan(taken));
  REQUIRE(taken == 2);
  CHECK(done[0].tag == 1);
  CHECK(done[0].result.status == Status::indeterminate);
  CHECK(done[1].tag == 2);
  CHECK(done[1].result.ok());
}

TEST_CASE("a daemon that comes back with other options is taken as it is") {
  Rank rank({"--memory", "64MiB", "--daemon-threads", "2"});
  Client kv = rank.client({.reattach = true});
  for (uint32_t index = 0; index < 100; ++index) {
    REQUIRE(kv.put(fmt::format("k{}", index), std::string(60'000, 'v')).ok());
  }
  rank.freeze();
  for (uint64_t tag = 0; tag < 10; ++tag) {
    REQUIRE(kv.submit_get(fmt::format("k{}", tag), tag) == Status::ok);
  }
  rank.daemon.kill();
  rank.daemon.set_flags({"--memory", "64MiB"});
  rank.daemon.start();
  std::array<Completion, 16> done;
  size_t taken = 0;
  while (kv.in_flight() > 0) taken += kv.wait(std::span(done).subspan(taken));
  CHECK(taken == 10);
  CHECK(kv.put("k", "v").ok());
  CHECK(kv.info().daemon_threads == 1);
}

TEST_CASE("a Buffer belongs to one attachment") {
  for (const bool automatic : {false, true}) {
    CAPTURE(automatic);
    Rank rank;
    Client kv = rank.client({.reattach = automatic});
    Buffer old = kv.reserve(100'000);
    Buffer unused = kv.reserve(50'000);
    REQUIRE(old);
    std::memset(old.bytes().data(), 'o', old.bytes().size());
    rank.daemon.kill();
    CHECK(kv.get("k").status == Status::disconnected);
    CHECK(kv.put("k", std::move(old)).status == Status::disconnected);
    REQUIRE(old);
    rank.daemon.start();
    // What the Buffer holds was never the next daemon's: nothing else may be stored instead.
    CHECK(kv.put("k", std::move(old)).status == Status::disconnected);
    REQUIRE(old);
    if (!automatic) REQUIRE(kv.reattach().empty());
    CHECK(kv.get("k").status == Status::not_found);
    REQUIRE(kv.connected());
    CHECK(kv.submit_put("k", std::move(old), 1) == Status::disconnected);
    // It may still be written, as long as it is there.
    std::memset(old.bytes().data(), 'p', old.bytes().size());
    CHECK(old.bytes()[99'999] == std::byte{'p'});

    Buffer fresh = kv.reserve(100'000);
    REQUIRE(fresh);
    std::memset(fresh.bytes().data(), 'f', fresh.bytes().size());
    old.reset();  // gives nothing back to the area of the new attachment
    REQUIRE(kv.put("k", std::move(fresh)).ok());
    CHECK(kv.get("k").value == std::string(100'000, 'f'));
    unused = kv.reserve(10);
    CHECK(unused);
  }
}

TEST_CASE("a client that only reserves and puts Buffers attaches again by itself, too") {
  Rank rank;
  Client kv = rank.client({.reattach = true});
  const auto put = [&] {
    Buffer buffer = kv.reserve(100'000);
    if (!buffer) return Status::would_block;
    std::memset(buffer.bytes().data(), 'v', buffer.bytes().size());
    return kv.put("k", std::move(buffer)).status;
  };
  REQUIRE(put() == Status::ok);
  rank.daemon.kill();
  rank.daemon.start();
  CHECK(put() == Status::indeterminate);  // into the void: noticed while it waited
  CHECK(put() == Status::ok);
}

TEST_CASE("a batch that is cut off ends each key once, and goes on with the next daemon") {
  for (const bool automatic : {false, true}) {
    CAPTURE(automatic);
    Rank rank;
    std::vector<std::string> keys;
    for (uint32_t index = 0; index < 100; ++index) keys.push_back(fmt::format("k{}", index));
    const std::vector<std::string_view> views(keys.begin(), keys.end());
    const std::vector<std::string_view> values(100, "value");
    std::vector<Status> statuses(100, Status::bad_request);
    Client kv = rank.client({.reattach = automatic, .attach_timeout_ms = 20'000});
    rank.freeze();
    REQUIRE(kv.submit_exists("k", 7) == Status::ok);
    std::thread batch([&] { kv.put_batch(views, values, statuses); });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    rank.daemon.kill();
    if (automatic) rank.daemon.start();
    batch.join();
    CHECK(kv.in_flight() == 1);
    std::array<Completion, 4> done;
    REQUIRE(kv.poll(done) == 1);
    CHECK(done[0].tag == 7);
    CHECK(done[0].result.status == Status::disconnected);
    for (uint32_t index = 0; index < 15; ++index) CHECK(statuses[index] == Status::indeterminate);
    for (uint32_t index = 15; index < 100; ++index) {
      CHECK(statuses[index] == (automatic ? Status::ok : Status::disconnected));
    }
  }
}

TEST_CASE("a large get that is cut off between its two questions is no value of the next daemon") {
  // The daemon dies after it answered that the value is larger than the slot.
  Rank rank;
  Client kv = rank.client({.reattach = true});
  REQUIRE(kv.put("k", std::string(100'000, 'v')).ok());
  REQUIRE(kv.submit_get("k", 1) == Status::ok);
  Client other = rank.client();
  for (uint32_t round = 0; round < 200; ++round) REQUIRE(other.ping().ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  rank.freeze();
  REQUIRE(kv.submit_exists("k", 2) == Status::ok);
  rank.daemon.kill();
  CHECK(kv.ping().status == Status::disconnected);
  rank.daemon.start();
  std::array<Completion, 4> done;
  size_t taken = 0;
  while (kv.in_flight() > 0) taken += kv.wait(std::span(done).subspan(taken));
  REQUIRE(taken == 2);
  CHECK(done[0].result.status == Status::disconnected);
  CHECK(done[1].result.status == Status::disconnected);
  CHECK(kv.put("k", std::string(100'000, 'w')).ok());
  CHECK(kv.get("k").value == std::string(100'000, 'w'));
}
