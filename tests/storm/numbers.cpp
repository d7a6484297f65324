// SPDX-License-Identifier: Apache-2.0
// Figures about sleeping, attaching and sharing, each printed with its limit.
//
//   storm_numbers idle       share of a core of an idle daemon; first request after idling
//   storm_numbers attach     time to attach
//   storm_numbers thousand   p50 of a busy client beside 1,000 idle ones, over its p50 alone
//   storm_numbers fair       8 clients at once: p50, and the slowest over the mean
//   storm_numbers large      p99 of small gets beside 16 MiB values, over their p99 alone
//   storm_numbers remote     the same between two ranks over ofi-tcp, beside values of 1.2 MB
//
// Daemon and measuring client have a core each (0 and 1), where there are two; else two threads
// that take turns on one core would be measured. Machines are shared: a figure that compares is a
// ratio of the best of several interleaved medians. Exit: 0 within the limits, 1 beyond one, 2
// usage.
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "tests/storm/daemon_process.hpp"
#include "tests/storm/ranks.hpp"
#include "tests/storm/raw_client.hpp"

namespace copykv::storm {
namespace {

constexpr uint32_t kRounds = 5;
constexpr uint32_t kAttemptsMax = 5;
const SystemClock kClock;

bool all_within = true;

void report(const char* name, double figure, const char* unit, double limit,
            bool at_least = false) {
  const bool within = at_least ? figure >= limit : figure <= limit;
  all_within = all_within && within;
  fmt::print("{:<44} {:>9.2f} {:<4} limit {} {:g}{}\n", name, figure, unit,
             at_least ? ">=" : "<=", limit, within ? "" : "   BEYOND");
}

/// The value that a share `quantile` of the samples does not exceed. Reorders them.
double quantile_us(std::vector<uint32_t>& samples_ns, double quantile) {
  const auto at = static_cast<ptrdiff_t>(quantile * static_cast<double>(samples_ns.size() - 1));
  std::nth_element(samples_ns.begin(), samples_ns.begin() + at, samples_ns.end());
  return samples_ns[static_cast<size_t>(at)] / 1e3;
}

uint32_t timed(const std::function<void()>& what) {
  const uint64_t began_ns = kClock.now_ns();
  what();
  return static_cast<uint32_t>(std::min<uint64_t>(kClock.now_ns() - began_ns, UINT32_MAX));
}

/// Puts this thread on core 1; `also_0`: on either.
void leave_core_0_to_the_daemon(bool also_0 = false) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(1, &cores);
  if (also_0) CPU_SET(0, &cores);
  if (::sched_setaffinity(0, sizeof(cores), &cores) != 0) fmt::print("one core only\n");
}

/// Small gets one after the other for a while.
std::vector<uint32_t> time_gets(Client& client, uint64_t run_ms,
                                std::string_view key = "busy-key") {
  std::vector<uint32_t> samples_ns;
  samples_ns.reserve(2'000'000);
  uint64_t now_ns = kClock.now_ns();
  const uint64_t end_ns = now_ns + run_ms * kNanosPerMilli;
  while (now_ns < end_ns && samples_ns.size() < samples_ns.capacity()) {
    (void)client.get(key);
    const uint64_t after_ns = kClock.now_ns();
    samples_ns.push_back(static_cast<uint32_t>(after_ns - now_ns));
    now_ns = after_ns;
  }
  return samples_ns;
}

void idle() {
  DaemonProcess daemon;
  daemon.start();
  std::vector<Client> clients;
  for (uint32_t number = 0; number < 8; ++number) clients.push_back(attach_to(daemon));
  (void)clients[0].put("busy-key", "12345678");
  ::sleep(1);
  const uint64_t before_ns = daemon.cpu_ns();
  const uint64_t began_ns = kClock.now_ns();
  ::sleep(4);
  const double elapsed_ns = static_cast<double>(kClock.now_ns() - began_ns);
  report("idle daemon, 8 idle clients, share of a core",
         100 * static_cast<double>(daemon.cpu_ns() - before_ns) / elapsed_ns, "%", 1);

  std::vector<uint32_t> samples_ns;
  for (uint32_t sample = 0; sample < 60; ++sample) {
    ::usleep(30'000);
    Client& client = clients[sample % clients.size()];
    samples_ns.push_back(timed([&] { (void)client.get("busy-key"); }));
  }
  report("first request after idling, p50", quantile_us(samples_ns, 0.5), "us", 150);
}

void attach() {
  DaemonProcess daemon;
  daemon.start();
  std::vector<uint32_t> samples_ns;
  for (uint32_t sample = 0; sample < 300; ++sample) {
    samples_ns.push_back(timed([&] { (void)attach_to(daemon); }));
    ::usleep(500);
  }
  report("attach and detach, p50", quantile_us(samples_ns, 0.5) / 1e3, "ms", 2);
}

void thousand() {
  constexpr uint32_t kIdleClients = 1'000;
  constexpr uint64_t kParkingMsMax = 5'000;
  DaemonProcess daemon({"--memory", "64MiB", "--pin", "0"});
  daemon.start();
  leave_core_0_to_the_daemon();
  Client busy = attach_to(daemon);
  (void)busy.put("busy-key", "12345678");
  const RawClient observer(daemon.socket_path());
  const DaemonBlock& block = daemon_block(observer.rank(), 0);
  uint64_t parking_ms = 0;
  Options small;
  small.queue_depth = 1;
  double alone_us = 1e9;
  double beside_us = 1e9;
  for (uint32_t round = 0; round < kRounds; ++round) {
    std::vector<uint32_t> samples_ns = time_gets(busy, 300);
    alone_us = std::min(alone_us, quantile_us(samples_ns, 0.5));
    std::vector<Client> idle_clients;
    uint64_t round_ms = 0;
    for (uint32_t number = 0; number < kIdleClients; ++number) {
      idle_clients.push_back(attach_to(daemon, small));
    }
    while (peek(block.lanes_parked) < kIdleClients && round_ms < kParkingMsMax) {
      (void)time_gets(busy, 50);
      round_ms += 50;
    }
    parking_ms = std::max(parking_ms, round_ms);
    samples_ns = time_gets(busy, 300);
    beside_us = std::min(beside_us, quantile_us(samples_ns, 0.5));
  }
  fmt::print("p50 alone {:.3f} us, beside {} idle clients {:.3f} us; all parked within {} ms\n",
             alone_us, kIdleClients, beside_us, parking_ms);
  report("busy client beside 1,000 idle ones, p50 ratio", beside_us / alone_us, "x", 1.1);
}

void fair() {
  constexpr uint32_t kClients = 8;
  DaemonProcess daemon;
  daemon.start();
  double best_p50_us = 1e9;
  double best_share = 0;
  for (uint32_t round = 0; round < kRounds; ++round) {
    std::array<std::vector<uint32_t>, kClients> samples_ns;
    std::vector<std::thread> threads;
    for (uint32_t number = 0; number < kClients; ++number) {
      threads.emplace_back([&, number] {
        Client client = attach_to(daemon);
        samples_ns[number] = time_gets(client, 1'000);
      });
    }
    for (std::thread& thread : threads) thread.join();
    std::vector<uint32_t> all_ns;
    size_t slowest = SIZE_MAX;
    for (const auto& samples : samples_ns) {
      all_ns.insert(all_ns.end(), samples.begin(), samples.end());
      slowest = std::min(slowest, samples.size());
    }
    const double mean = static_cast<double>(all_ns.size()) / kClients;
    best_p50_us = std::min(best_p50_us, quantile_us(all_ns, 0.5));
    best_share = std::max(best_share, static_cast<double>(slowest) / mean);
  }
  report("8 adaptive clients, p50", best_p50_us, "us", 60);
  report("8 adaptive clients, slowest over the mean", best_share, "x", 1.0 / 3, true);
}

/// Small gets, and large values beside them.
struct Beside {
  std::function<Client(const Options&)> attach;
  std::string small_key = "busy-key";
  std::string large_key = "large";
  size_t large_bytes = 0;
  Wait wait = Wait::adaptive;  ///< of the client of the small gets
};

/// Keeps one large value on its way without using the processor in between.
void move_large_values(const Beside& spec, const std::atomic<bool>& stop,
                       std::atomic<uint64_t>& moved) {
  leave_core_0_to_the_daemon(/*also_0=*/true);  // it sleeps; it must not wait for the busy client
  Options options;
  options.wait = Wait::park;
  Client client = spec.attach(options);
  if (!client.put(spec.large_key, std::string(spec.large_bytes, 'x')).ok()) return;
  std::array<Completion, 1> done;
  while (!stop) {
    if (client.submit_get(spec.large_key, 1) != Status::ok) return;
    while (client.wait(done) == 0) {
    }
    if (done[0].result.value.size() == spec.large_bytes) ++moved;
  }
}

/// p99 of the small gets beside the large values over their p99 alone.
double p99_ratio(const Beside& spec) {
  Options options;
  options.wait = spec.wait;
  Client busy = spec.attach(options);
  (void)busy.put(spec.small_key, "12345678");
  double alone_us = 1e9;
  double beside_us = 1e9;
  std::atomic<uint64_t> moved = 0;
  for (uint32_t round = 0; round < kRounds; ++round) {
    std::vector<uint32_t> samples_ns = time_gets(busy, 400, spec.small_key);
    alone_us = std::min(alone_us, quantile_us(samples_ns, 0.99));
    std::atomic<bool> stop = false;
    const uint64_t moved_before = moved;
    std::thread mover([&] { move_large_values(spec, stop, moved); });
    while (moved == moved_before) ::usleep(1'000);
    samples_ns = time_gets(busy, 400, spec.small_key);
    beside_us = std::min(beside_us, quantile_us(samples_ns, 0.99));
    stop = true;
    mover.join();
  }
  fmt::print("p99 alone {:.3f} us, beside {} values of {:.1f} MB {:.3f} us\n", alone_us,
             moved.load(), static_cast<double>(spec.large_bytes) / 1e6, beside_us);
  return beside_us / alone_us;
}

void large() {
  DaemonProcess daemon({"--memory", "256MiB", "--pin", "0"});
  daemon.start();
  leave_core_0_to_the_daemon();
  const double ratio =
      p99_ratio({.attach = [&](const Options& options) { return attach_to(daemon, options); },
                 .large_bytes = 16U << 20});
  report("small gets beside 16 MiB values, p99 ratio", ratio, "x", 3);
}

/// Two daemons, the client of small gets and that of large values are all busy. With a processor
/// each, the goal of 3 stands. With fewer, whoever has just slept runs first: the client parks.
void remote() {
  constexpr uint32_t kBusyThreads = 4;
  const bool shared = std::thread::hardware_concurrency() < kBusyThreads;
  Ranks ranks({.ranks = 2});
  ranks.start_all();
  const auto key_of_rank_1 = [&](const std::string& name) {
    uint32_t number = 0;
    while (ranks.owner_of(name + std::to_string(number)) != 1) ++number;
    return name + std::to_string(number);
  };
  const double ratio =
      p99_ratio({.attach = [&](const Options& options) { return ranks.attach(0, options); },
                 .small_key = key_of_rank_1("small"),
                 .large_key = key_of_rank_1("large"),
                 .large_bytes = 1'200'000,
                 .wait = shared ? Wait::park : Wait::adaptive});
  report("small remote gets beside 1.2 MB ones, p99 ratio", ratio, "x", shared ? 5 : 3);
}

}  // namespace
}  // namespace copykv::storm

int main(int argc, char** argv) {
  using namespace copykv::storm;
  const std::pair<std::string_view, void (*)()> figures[] = {
      {"idle", idle}, {"attach", attach}, {"thousand", thousand},
      {"fair", fair}, {"large", large},   {"remote", remote}};
  bool known = false;
  for (const auto& [name, measure] : figures) {
    if (argc != 2 || name != argv[1]) continue;
    known = true;
    // A shared machine disturbs a figure but never improves it: the best of a few attempts counts.
    for (uint32_t attempt = 0; attempt < kAttemptsMax; ++attempt) {
      all_within = true;
      measure();
      if (all_within) break;
    }
  }
  if (!known) {
    fmt::print(stderr, "usage: storm_numbers idle|attach|thousand|fair|large|remote\n");
    return 2;
  }
  return all_within ? 0 : 1;
}
