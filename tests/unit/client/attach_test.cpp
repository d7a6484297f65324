// SPDX-License-Identifier: Apache-2.0
// Clients of a real copykvd: attaching, what a refusal says, and the end of the daemon in the
// middle of everything.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "tests/unit/client/rank.hpp"

using namespace copykv;
using storm::DaemonProcess;
using test::Rank;

namespace {

constexpr uint64_t kSecondNs = kNanosPerSecond;

uint64_t ns_of(const std::function<void()>& what) {
  const SystemClock clock;
  const uint64_t began_ns = clock.now_ns();
  what();
  return clock.now_ns() - began_ns;
}

AttachResult attach(const DaemonProcess& daemon, const std::function<void(Options&)>& change) {
  Options options = daemon.client_options();
  change(options);
  return Client::attach(options);
}

}  // namespace

TEST_CASE("an attach that cannot be says why, and what to do") {
  DaemonProcess daemon;
  AttachResult nobody = Client::attach(daemon.client_options());
  CHECK_FALSE(nobody.client);
  CHECK(nobody.status == Status::disconnected);
  CHECK_THAT(nobody.error, Catch::Contains("start `copykvd`"));
  CHECK_THAT(nobody.error, Catch::Contains(daemon.socket_path()));

  daemon.start();
  struct Case {
    std::function<void(Options&)> change;
    Status status;
    const char* text;
  };
  const Case cases[] = {
      {[](Options& o) { o.queue_depth = 0; }, Status::bad_request, "queue_depth 0 (1..64)"},
      {[](Options& o) { o.queue_depth = 65; }, Status::bad_request, "queue_depth 65"},
      {[](Options& o) { o.slot_payload_bytes = 100; }, Status::bad_request, "payload_bytes 100"},
      {[](Options& o) { o.slot_payload_bytes = 1U << 20; }, Status::bad_request, "payload_bytes"},
      {[](Options& o) { o.bulk_bytes_max = UINT64_MAX; }, Status::bad_request, "bulk_bytes_max"},
      {[](Options& o) { o.job = "../etc"; }, Status::bad_request, "job"},
      {[](Options& o) { o.runtime_dir = std::string(200, 'd'); }, Status::bad_request, "shorter"},
      {[](Options& o) { o.job = "another"; }, Status::disconnected, "COPYKV_JOB"},
      {[](Options& o) { o.rank = 7; }, Status::disconnected, "rank7.sock"},
  };
  for (const Case& one : cases) {
    const AttachResult result = attach(daemon, one.change);
    CAPTURE(result.error);
    CHECK_FALSE(result.client);
    CHECK(result.status == one.status);
    CHECK_THAT(result.error, Catch::Contains(one.text));
    CHECK(result.error.find('\n') == std::string::npos);
  }
  const AttachResult good = attach(daemon, [](Options&) {});
  CHECK(good.client);
  CHECK(good.status == Status::ok);
  CHECK(good.error.empty());
}

TEST_CASE("more clients than --max-clients are refused, and the next may come when one goes") {
  Rank rank({"--memory", "64MiB", "--max-clients", "2"});
  std::optional<Client> one = rank.client();
  const Client other = rank.client();
  const AttachResult third = Client::attach(rank.daemon.client_options());
  CHECK_FALSE(third.client);
  CHECK(third.status == Status::no_space);
  CHECK_THAT(third.error, Catch::Contains("--max-clients"));
  one.reset();
  Options patient = rank.daemon.client_options();
  for (uint32_t attempt = 0; attempt < 1'000; ++attempt) {
    if (Client::attach(patient).client) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  FAIL("the place of a client that has gone is never free");
}

TEST_CASE("attaching waits for a daemon as long as it was told to") {
  DaemonProcess daemon;
  const auto impatient = [](Options& o) { o.attach_timeout_ms = 100; };
  const uint64_t took_ns = ns_of([&] { CHECK_FALSE(attach(daemon, impatient).client); });
  CHECK(took_ns >= 100 * kNanosPerMilli);
  Status status = Status::disconnected;
  std::thread waiting([&] {
    AttachResult result = attach(daemon, [](Options& o) { o.attach_timeout_ms = 20'000; });
    if (result.client) status = result.client->put("k", "v").status;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  daemon.start();
  waiting.join();
  CHECK(status == Status::ok);
}

TEST_CASE("info says what was agreed") {
  Rank rank({"--memory", "64MiB", "--daemon-threads", "2", "--max-value-bytes", "2MiB"});
  Client kv =
      rank.client({.queue_depth = 5, .slot_payload_bytes = 8192, .bulk_bytes_max = 1 << 20});
  Info info = kv.info();
  CHECK(info.job == "default");
  CHECK(info.socket_path == rank.daemon.socket_path());
  CHECK(info.rank == 0);
  CHECK(info.rank_count == 1);
  CHECK(info.daemon_threads == 2);
  CHECK(info.daemon_pid == static_cast<uint32_t>(rank.daemon.pid()));
  CHECK(info.queue_depth == 5);
  CHECK(info.slot_payload_bytes == 8192);
  CHECK(info.value_bytes_max == 2U << 20);
  CHECK(info.bulk_bytes_granted == 0);
  CHECK(info.epoch != 0);
  CHECK(info.segment_bytes >= 2 * 5 * (8192 + 256) + (1 << 20));
  REQUIRE(kv.put("k", std::string(50'000, 'v')).ok());
  CHECK(kv.info().bulk_bytes_granted >= 50'000);  // memory comes when it is first needed
  CHECK(kv.put("k", std::string((2 << 20) + 1, 'v')).status == Status::value_too_large);
}

TEST_CASE("two daemon threads own a part of the keys each, and the client finds them") {
  Rank rank({"--memory", "64MiB", "--daemon-threads", "2"});
  Client kv = rank.client({.queue_depth = 8});
  Client other = rank.client({.queue_depth = 8});
  for (uint32_t index = 0; index < 500; ++index) {
    REQUIRE(kv.put(fmt::format("key-{}", index), fmt::format("{}", index)).ok());
  }
  for (uint32_t index = 0; index < 500; ++index) {
    REQUIRE(other.get(fmt::format("key-{}", index)).value == fmt::format("{}", index));
  }
  size_t keys = 0;
  REQUIRE(kv.for_each_key([&](std::string_view) { ++keys; }) == Status::ok);
  CHECK(keys == 500);
  CHECK(kv.ping(0).ok());
  CHECK(kv.ping(1).ok());

  // 8 operations in flight per daemon thread, both lanes drained by one poll.
  uint64_t submitted = 0;
  for (uint32_t index = 0; index < 500 && submitted < 16; ++index) {
    submitted += kv.submit_get(fmt::format("key-{}", index), index) == Status::ok ? 1 : 0;
  }
  CHECK(submitted == 16);
  std::array<Completion, 64> done;
  std::vector<uint32_t> seen(500);
  while (kv.in_flight() > 0) {
    const size_t taken = kv.wait(done);
    for (size_t index = 0; index < taken; ++index) {
      CHECK(done[index].result.value == fmt::format("{}", done[index].tag));
      CHECK(++seen[done[index].tag] == 1);
    }
  }
  // Both have done something.
  std::vector<std::string> texts;
  for (uint32_t index = 0; index < 500; ++index) texts.push_back(fmt::format("key-{}", index));
  std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<Status> statuses(500);
  kv.exists_batch(views, statuses);
  CHECK(std::ranges::count(statuses, Status::ok) == 500);
}

TEST_CASE("calls end within a second when the daemon dies: reads and writes for what they are") {
  for (const Wait wait : {Wait::spin, Wait::adaptive, Wait::park}) {
    Rank rank;
    Client reader = rank.client({.wait = wait});
    Client writer = rank.client({.wait = wait});
    rank.freeze();
    Result read;
    Result written;
    uint64_t read_ns = 0;
    uint64_t write_ns = 0;
    std::thread reading([&] { read_ns = ns_of([&] { read = reader.get("k"); }); });
    std::thread writing([&] { write_ns = ns_of([&] { written = writer.put("k", "v"); }); });
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    const uint64_t dying_ns = ns_of([&] { rank.daemon.kill(); });
    reading.join();
    writing.join();
    CHECK(read.status == Status::disconnected);
    CHECK(written.status == Status::indeterminate);
    CHECK(read_ns < dying_ns + kSecondNs);
    CHECK(write_ns < dying_ns + kSecondNs);
    CHECK_FALSE(reader.connected());
    // From now on nothing is even tried.
    CHECK(reader.get("k").status == Status::disconnected);
    CHECK(writer.put("k", "v").status == Status::disconnected);
    CHECK(writer.submit_put("k", "v", 1) == Status::disconnected);
    CHECK(writer.submit_get("k", 1) == Status::disconnected);
    CHECK_FALSE(writer.reattach().empty());
  }
}

TEST_CASE("a client that was idle when the daemon died hears of it from its next call") {
  const std::string large(1U << 20, 'v');
  const std::function<Status(Client&)> calls[] = {
      [](Client& kv) { return kv.get("k").status; },
      [](Client& kv) { return kv.put("k", "v").status; },
      [](Client& kv) { return kv.ping().status; },
      [&](Client& kv) { return kv.put("k", large).status; },
      [&](Client& kv) { return kv.submit_put("k", large, 1); },
      [](Client& kv) { return kv.for_each_key([](std::string_view) {}); },
  };
  for (const auto& call : calls) {
    Rank rank;
    Client kv = rank.client();
    rank.daemon.kill();
    Status status = Status::ok;
    const uint64_t took_ns = ns_of([&] { status = call(kv); });
    CHECK((status == Status::disconnected || status == Status::indeterminate));
    CHECK(took_ns < kSecondNs);
    CHECK_FALSE(kv.connected());
  }
}

TEST_CASE("operations in flight when the daemon dies are completed once each") {
  for (const bool only_poll : {false, true}) {
    CAPTURE(only_poll);
    Rank rank;
    Client kv = rank.client();
    rank.freeze();
    for (uint64_t tag = 0; tag < 16; ++tag) {
      const Status status = tag % 4 == 0   ? kv.submit_put("k", "v", tag)
                            : tag % 4 == 1 ? kv.submit_get("k", tag)
                            : tag % 4 == 2 ? kv.submit_del("k", tag)
                                           : kv.submit_exists("k", tag);
      REQUIRE(status == Status::ok);
    }
    rank.daemon.kill();
    std::array<Completion, 16> done;
    size_t taken = 0;
    const uint64_t took_ns = ns_of([&] {
      const SystemClock clock;
      const uint64_t give_up_ns = clock.now_ns() + 5 * kSecondNs;
      while (kv.in_flight() > 0 && clock.now_ns() < give_up_ns) {
        const auto room = std::span(done).subspan(taken);
        taken += only_poll ? kv.poll(room) : kv.wait(room);
      }
    });
    REQUIRE(taken == 16);
    for (uint64_t tag = 0; tag < 16; ++tag) {
      CHECK(done[tag].tag == tag);
      CHECK(done[tag].result.status ==
            (tag % 2 == 0 ? Status::indeterminate : Status::disconnected));
    }
    CHECK(took_ns < kSecondNs);
  }
}

TEST_CASE("answers given before the daemon died still count") {
  Rank rank;
  Client kv = rank.client();
  REQUIRE(kv.put("k", "v").ok());
  for (uint64_t tag = 0; tag < 8; ++tag) REQUIRE(kv.submit_get("k", tag) == Status::ok);
  // A ping behind them on the same lane: when it is answered, so are they.
  Client other = rank.client();
  for (uint32_t round = 0; round < 200; ++round) REQUIRE(other.ping().ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  rank.daemon.kill();
  REQUIRE(kv.get("other").status == Status::disconnected);
  std::array<Completion, 16> done;
  REQUIRE(kv.poll(done) == 8);
  for (uint64_t tag = 0; tag < 8; ++tag) CHECK(done[tag].result.value == "v");
}
