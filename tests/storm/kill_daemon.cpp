// SPDX-License-Identifier: Apache-2.0
// kill -9 of the daemon under load: no call hangs, calls cut off say what they are, clients attach
// to the next daemon, which starts empty. What all of them saw has an order.
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
#include "tests/storm/tape.hpp"
#include "tests/storm/verdict.hpp"

namespace copykv::storm {
namespace {

constexpr uint64_t kCallNsMax = kNanosPerSecond;
constexpr uint32_t kInFlight = 16;
constexpr uint64_t kKeys = 20;

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

void synchronous_load(const DaemonProcess& daemon, Seen& seen, Tape& tape, uint32_t process,
                      Options options) {
  Random random(process);
  TapedClient client(attach_to(daemon, options), tape, process);
  const SystemClock clock;
  while (!seen.stop) {
    const uint64_t key = random.below(kKeys);
    const bool is_write = random.below(2) == 0;
    const size_t value_bytes =
        kRecordBytesMin + random.below(is_large(key) && random.below(2) == 0 ? 100'000 : 100);
    const uint64_t began_ns = clock.now_ns();
    const Status status = is_write ? client.put(key, value_bytes) : client.get(key);
    seen.took(clock.now_ns() - began_ns);
    seen.ended(is_write, status);
    if (!client.wrong().empty()) seen.violated(client.wrong());
    if (!options.reattach) reattach_when_needed(client.client(), seen);
    if (status == Status::disconnected) ::usleep(200);
  }
}

/// Keeps kInFlight operations in flight; each must get exactly one completion.
void asynchronous_load(const DaemonProcess& daemon, Seen& seen, Tape& tape, uint32_t process) {
  Random random(process);
  Options options;
  options.queue_depth = kInFlight;
  Client client = attach_to(daemon, options);
  const SystemClock clock;
  std::array<Completion, kInFlight> completions;
  std::string value(100, '\0');
  uint64_t sequence = 0;
  uint64_t submitted = 0;
  uint64_t completed = 0;
  const auto ended = [&](size_t at, const Result& result) {
    std::string wrong;
    tape.end(at, ending_of(tape[at], result, clock.now_ns(), wrong));
    if (!wrong.empty()) seen.violated(wrong);
  };
  while (!seen.stop || client.in_flight() > 0) {
    const uint64_t began_ns = clock.now_ns();
    Status status = Status::ok;
    while (!seen.stop && client.in_flight() < kInFlight && status == Status::ok) {
      const uint64_t key = random.below(kKeys / 4) * 4 + 1 + random.below(3);  // none is large
      const bool is_write = random.below(2) == 0;
      size_t at = 0;
      if (is_write) {
        write_record(key, process, ++sequence, value);
        at = tape.begin(put_of(key, process, sequence, clock.now_ns()));
        status = client.submit_put(record_key(key), value, at);
      } else {
        at = tape.begin(asking(sim::Kind::get, key, process, clock.now_ns()));
        status = client.submit_get(record_key(key), at);
      }
      if (status == Status::ok) {
        ++submitted;
      } else {
        ended(at, {.status = status});
      }
    }
    const size_t taken = client.wait(completions, 900);
    completed += taken;
    for (size_t index = 0; index < taken; ++index) {
      const Completion& completion = completions[index];
      ended(completion.tag, completion.result);
      seen.ended(tape[completion.tag].kind == sim::Kind::put, completion.result.status);
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
  Tapes tapes(4);
  std::vector<std::thread> load;
  const auto synchronous = [&](uint32_t process, Wait wait, bool automatic) {
    Options options;
    options.wait = wait;
    options.reattach = automatic;
    load.emplace_back([&, process, options] {
      synchronous_load(daemon, seen, tapes[process - 1], process, options);
    });
  };
  synchronous(1, Wait::adaptive, false);
  synchronous(2, Wait::park, false);
  synchronous(3, Wait::adaptive, true);
  load.emplace_back([&] { asynchronous_load(daemon, seen, tapes[3], 4); });
  // Each daemon is killed only after it has served; that it serves at all is part of the claim.
  const auto serves = [&] {
    const uint64_t ok_before = seen.ok;
    for (uint32_t tries = 0; tries < 5'000 && seen.ok == ok_before; ++tries) ::usleep(1'000);
    return seen.ok > ok_before;
  };
  Random random(1);
  const SystemClock clock;
  std::vector<std::pair<uint64_t, uint64_t>> deaths;
  bool all_served = serves();
  for (uint64_t restart = 0; restart < restarts && all_served; ++restart) {
    ::usleep(static_cast<useconds_t>(random.below(50'000)));
    const uint64_t killed_ns = clock.now_ns();
    daemon.kill();
    if (restart % 4 == 0) ::usleep(5'000);  // a while without any daemon
    deaths.emplace_back(killed_ns, clock.now_ns());
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
  sim::History history = tapes.history();
  // What the deaths took cannot be explained without them.
  CHECK_FALSE(sim::check_linearizability(history).ok());
  for (const auto& [killed_ns, restart_ns] : deaths) {
    for (uint64_t key = 0; key < kKeys; ++key) history.wipe(key, killed_ns, restart_ns);
  }
  expect_in_order(history, "kill_daemon", [](uint64_t) { return 0; });
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
