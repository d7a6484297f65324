// SPDX-License-Identifier: Apache-2.0
// SIGSTOP: a stopped client is alive and keeps everything; a stopped daemon is slow and nothing is
// lost.
//
//   COPYKV_STORM_STOP_SECONDS   how long one stands still (default 3)
//   COPYKV_STORM_STOPS          short stops of clients and of the daemon, at any moment (default
//                               1,000 altogether)
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <thread>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "tests/storm/daemon_process.hpp"
#include "tests/storm/raw_client.hpp"
#include "tests/storm/record.hpp"

namespace copykv::storm {
namespace {

/// Puts and gets of numbered records until told by SIGTERM; 0 when all were right.
int work_until_told(const DaemonProcess& daemon, uint64_t key) {
  static volatile sig_atomic_t told = 0;
  ::signal(SIGTERM, [](int) { told = 1; });
  Client client = attach_to(daemon);
  std::string value(200, '\0');
  Record record;
  for (uint64_t sequence = 1; told == 0; ++sequence) {
    write_record(key, key, sequence, value);
    if (!client.put(record_key(key), value).ok()) return 1;
    const Result got = client.get(record_key(key));
    if (!got.ok() || !read_record(key, got.value, record).empty()) return 2;
    if (record.sequence != sequence) return 3;
    if (sequence % 64 == 0) ::usleep(100);
  }
  return 0;
}

pid_t start_working(const DaemonProcess& daemon, uint64_t key) {
  return in_child([&] { return work_until_told(daemon, key); });
}

int end(pid_t pid) {
  ::kill(pid, SIGTERM);
  int status = -1;
  (void)::waitpid(pid, &status, 0);
  return status;
}

struct Stops {
  uint64_t of_clients = 0;
  uint64_t of_the_daemon = 0;
  uint64_t told = 0;  ///< of them, the kernel said that every thread stood still
};

/// One stop of up to two milliseconds, now and then of 60: longer than all of adaptive waiting.
void stop_for_a_moment(pid_t pid, Random& random, Stops& stops) {
  int status = 0;
  ::kill(pid, SIGSTOP);
  stops.told += ::waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) ? 1 : 0;
  ::usleep(static_cast<useconds_t>(random.below(32) == 0 ? 60'000 : 100 + random.below(2'000)));
  ::kill(pid, SIGCONT);
}

}  // namespace

TEST_CASE("a client that is stopped is not reclaimed and goes on") {
  const auto seconds = static_cast<unsigned>(setting("COPYKV_STORM_STOP_SECONDS", 3));
  DaemonProcess daemon;
  daemon.start();
  const RawClient observer(daemon.socket_path());
  const pid_t stopped = start_working(daemon, 1);
  const pid_t other = start_working(daemon, 2);
  ::usleep(100'000);
  const Resources before = daemon.resources();
  ::kill(stopped, SIGSTOP);
  ::sleep(seconds);
  CHECK(peek(observer.rank().clients_attached) == 3);
  CHECK(peek(observer.rank().clients_gone) == 0);
  CHECK(daemon.resources() == before);
  ::kill(stopped, SIGCONT);
  ::usleep(50'000);
  CHECK(end(stopped) == 0);
  CHECK(end(other) == 0);
  fmt::print("a client stood still for {} s and went on\n", seconds);
}

TEST_CASE("a daemon that is stopped loses nothing") {
  DaemonProcess daemon;
  daemon.start();
  Client client = attach_to(daemon);
  const pid_t synchronous = start_working(daemon, 1);
  ::usleep(50'000);
  daemon.send_signal(SIGSTOP);
  // In flight while nobody serves: a wait with a limit ends in time, and the answer still comes.
  REQUIRE(client.submit_put("key", "value", 7) == Status::ok);
  std::array<Completion, 1> done;
  const SystemClock clock;
  const uint64_t began_ns = clock.now_ns();
  CHECK(client.wait(done, 300) == 0);
  const uint64_t waited_ms = (clock.now_ns() - began_ns) / kNanosPerMilli;
  CHECK(waited_ms >= 300);
  CHECK(waited_ms < 1'000);
  CHECK(client.connected());
  CHECK(client.in_flight() == 1);
  ::sleep(static_cast<unsigned>(setting("COPYKV_STORM_STOP_SECONDS", 3)) / 2);
  daemon.send_signal(SIGCONT);
  REQUIRE(client.wait(done, 5'000) == 1);
  CHECK(done[0].tag == 7);
  CHECK(done[0].result.ok());
  CHECK(client.get("key").value == "value");
  CHECK(end(synchronous) == 0);
}

TEST_CASE("many short stops at any moment lose nothing and free nothing") {
  constexpr uint32_t kClients = 4;
  const uint64_t stops_wanted = setting("COPYKV_STORM_STOPS", 1'000);
  DaemonProcess daemon;
  daemon.start();
  const RawClient observer(daemon.socket_path());
  std::array<pid_t, kClients> clients;
  for (uint32_t client = 0; client < kClients; ++client) {
    clients[client] = start_working(daemon, 1 + client);
  }
  ::usleep(100'000);
  const Resources before = daemon.resources();
  const uint64_t requests_before = peek(daemon_block(observer.rank(), 0).requests);
  Random random(1);
  Stops stops;
  for (uint64_t stop = 0; stop < stops_wanted; ++stop) {
    const uint64_t victim = random.below(kClients + 1);
    ++(victim == kClients ? stops.of_the_daemon : stops.of_clients);
    stop_for_a_moment(victim == kClients ? daemon.pid() : clients[victim], random, stops);
    ::usleep(static_cast<useconds_t>(random.below(1'000)));
  }
  CHECK(stops.told == stops_wanted);
  CHECK(peek(observer.rank().clients_attached) == kClients + 1);
  CHECK(peek(observer.rank().clients_gone) == 0);
  CHECK(daemon.resources() == before);
  for (const pid_t client : clients) CHECK(end(client) == 0);
  const uint64_t requests = peek(daemon_block(observer.rank(), 0).requests) - requests_before;
  CHECK(requests > stops_wanted);
  fmt::print("{} stops of clients and {} of the daemon, {} operations meanwhile, each checked\n",
             stops.of_clients, stops.of_the_daemon, requests);
  CHECK(daemon.stop() == 0);
}

}  // namespace copykv::storm
