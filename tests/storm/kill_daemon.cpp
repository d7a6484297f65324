// SPDX-License-Identifier: Apache-2.0
// kill -9 of the daemon under load: no call hangs, calls cut off say what they are, clients attach
// to the next daemon.
//
//   COPYKV_STORM_RESTARTS   daemons killed (default 100)
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "tests/storm/daemon_process.hpp"
#include "tests/storm/record.hpp"

namespace copykv::storm {
namespace {

constexpr uint64_t kCallNsMax = kNanosPerSecond;
constexpr uint32_t kInFlight = 16;

/// What the load threads saw. Counters are relaxed; the text is under the lock.
struct Seen {
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> ok{0}, indeterminate{0}, disconnected{0}, reattached{0};
  std::atomic<uint64_t> longest_call_ns{0};
  std::mutex lock;
  std::string violation;

  void violated(const std::string& what) {
    const std::lock_guard guard(lock);
    if (violation.empty()) violation = what;
  }
  void took(uint64_t ns) {
    uint64_t longest = longest_call_ns.load();
    while (ns > longest && !longest_call_ns.compare_exchange_weak(longest, ns)) {
    }
    if (ns > kCallNsMax) violated(fmt::format("a call took {} ms", ns / kNanosPerMilli));
  }
  void ended(bool is_write, Status status) {
    if (status == Status::ok || (!is_write && status == Status::not_found)) {
      ++ok;  // a daemon that has restarted is empty
    } else if (status == Status::disconnected) {
      ++disconnected;
    } else if (status == Status::indeterminate && is_write) {
      ++indeterminate;
    } else {
      violated(fmt::format("a {} ends as {}", is_write ? "write" : "read", to_string(status)));
    }
  }
};

/// The library's own reattach waits for nobody: between two daemons calls fail at once.
void reattach_when_needed(Client& client, Seen& seen) {
  if (client.connected()) return;
  const SystemClock clock;
  const uint64_t began_ns = clock.now_ns();
  if (client.reattach().empty()) ++seen.reattached;
  seen.took(clock.now_ns() - began_ns);
}

void synchronous_load(const DaemonProcess& daemon, Seen& seen, uint64_t seed, Wait wait,
                      bool automatic) {
  Random random(seed);
  Options options;
  options.wait = wait;
  options.reattach = automatic;
  Client client = attach_to(daemon, options);
  const SystemClock clock;
  std::string value;
  while (!seen.stop) {
    const uint64_t key = seed * 100 + random.below(10);
    const bool is_write = random.below(2) == 0;
    const uint64_t began_ns = clock.now_ns();
    Result result;
    if (is_write) {
      value.resize(kRecordBytesMin + random.below(random.below(8) == 0 ? 100'000 : 100));
      write_record(key, seed, 1, value);
      result = client.put(record_key(key), value);
    } else {
      result = client.get(record_key(key));
    }
    seen.took(clock.now_ns() - began_ns);
    seen.ended(is_write, result.status);
    Record record;
    if (!is_write && result.ok()) {
      const std::string wrong = read_record(key, result.value, record);
      if (!wrong.empty()) seen.violated(wrong);
    }
    if (!automatic) reattach_when_needed(client, seen);
    if (result.status == Status::disconnected) ::usleep(200);
  }
}

/// Keeps kInFlight operations in flight; each must get exactly one completion.
void asynchronous_load(const DaemonProcess& daemon, Seen& seen, uint64_t seed) {
  Random random(seed);
  Options options;
  options.queue_depth = kInFlight;
  Client client = attach_to(daemon, options);
  const SystemClock clock;
  std::array<Completion, kInFlight> completions;
  std::string value(100, '\0');
  uint64_t submitted = 0;
  uint64_t completed = 0;
  while (!seen.stop || client.in_flight() > 0) {
    const uint64_t began_ns = clock.now_ns();
    Status status = Status::ok;
    while (!seen.stop && client.in_flight() < kInFlight && status == Status::ok) {
      const uint64_t key = seed * 100 + random.below(10);
      write_record(key, seed, 1, value);
      const bool is_write = random.below(2) == 0;
      status = is_write ? client.submit_put(record_key(key), value, 1)
                        : client.submit_get(record_key(key), 0);
      if (status == Status::ok) ++submitted;
    }
    const size_t taken = client.wait(completions, 900);
    completed += taken;
    for (size_t index = 0; index < taken; ++index) {
      seen.ended(completions[index].tag == 1, completions[index].result.status);
    }
    seen.took(clock.now_ns() - began_ns);
    reattach_when_needed(client, seen);
    if (!client.connected()) ::usleep(200);
  }
  if (submitted != completed) {
    seen.violated(fmt::format("{} submitted, {} completed", submitted, completed));
  }
}

}  // namespace

TEST_CASE("the daemon is killed under load") {
  const uint64_t restarts = setting("COPYKV_STORM_RESTARTS", 100);
  DaemonProcess daemon;
  daemon.start();
  Seen seen;
  std::vector<std::thread> load;
  load.emplace_back([&] { synchronous_load(daemon, seen, 1, Wait::adaptive, false); });
  load.emplace_back([&] { synchronous_load(daemon, seen, 2, Wait::park, false); });
  load.emplace_back([&] { synchronous_load(daemon, seen, 3, Wait::adaptive, true); });
  load.emplace_back([&] { asynchronous_load(daemon, seen, 4); });
  // Each daemon is killed only after it has served; that it serves at all is part of the claim.
  const auto serves = [&] {
    const uint64_t ok_before = seen.ok;
    for (uint32_t tries = 0; tries < 5'000 && seen.ok == ok_before; ++tries) ::usleep(1'000);
    return seen.ok > ok_before;
  };
  Random random(1);
  bool all_served = serves();
  for (uint64_t restart = 0; restart < restarts && all_served; ++restart) {
    ::usleep(static_cast<useconds_t>(random.below(50'000)));
    daemon.kill();
    if (restart % 4 == 0) ::usleep(5'000);  // a while without any daemon
    daemon.start();
    all_served = serves();
  }
  CHECK(all_served);
  seen.stop = true;
  for (std::thread& thread : load) thread.join();
  fmt::print(
      "{} restarts: {} calls ok, {} indeterminate, {} disconnected, {} reattached; longest call "
      "{:.1f} ms (limit {} ms)\n",
      restarts, seen.ok.load(), seen.indeterminate.load(), seen.disconnected.load(),
      seen.reattached.load(), static_cast<double>(seen.longest_call_ns) / 1e6,
      kCallNsMax / kNanosPerMilli);
  INFO(seen.violation);
  CHECK(seen.violation.empty());
  CHECK(seen.indeterminate > 0);  // writes were cut off: the kill met the load
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a stopping daemon answers what stands on the lanes, then its clients know") {
  DaemonProcess daemon;
  daemon.start();
  Client client = attach_to(daemon);
  REQUIRE(client.put("key", "value").ok());
  CHECK(daemon.stop() == 0);
  CHECK(!client.connected());
  CHECK(client.get("key").status == Status::disconnected);
  const Status put = client.put("key", "other").status;
  CHECK((put == Status::disconnected || put == Status::indeterminate));
  CHECK(!client.reattach().empty());
}

}  // namespace copykv::storm
