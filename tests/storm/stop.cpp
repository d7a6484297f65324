// SPDX-License-Identifier: Apache-2.0
// SIGSTOP: a stopped client is alive and keeps everything; a stopped daemon is slow and nothing is
// lost. What all clients saw has an order.
//
//   COPYKV_STORM_STOP_SECONDS   how long one stands still (default 3)
//   COPYKV_STORM_STOPS          short stops of clients and of the daemon, at any moment (default
//                               1,000 altogether)
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "tests/storm/daemon_process.hpp"
#include "tests/storm/raw_client.hpp"
#include "tests/storm/tape.hpp"
#include "tests/storm/verdict.hpp"

namespace copykv::storm {
namespace {

constexpr uint64_t kKeys = 4;

/// Reads and writes records until told by SIGTERM; 0 when every call was served.
int work_until_told(const DaemonProcess& daemon, Tape& tape, uint32_t process) {
  static volatile sig_atomic_t told = 0;
  ::signal(SIGTERM, [](int) { told = 1; });
  TapedClient client(attach_to(daemon), tape, process);
  Random random(process);
  for (uint64_t count = 1; told == 0; ++count) {
    const Status status = client.any(random.below(kKeys), 200, random);
    if (status != Status::ok && status != Status::not_found) return 1;
    if (!client.wrong().empty()) return 2;
    if (count % 128 == 0) ::usleep(100);
  }
  return 0;
}

/// Workers that write their operations on tapes; the process of a worker is its number.
class Workers {
 public:
  Workers(const DaemonProcess& daemon, uint32_t count) : tapes_(count) {
    for (uint32_t worker = 0; worker < count; ++worker) {
      pids_.push_back(
          in_child([&, worker] { return work_until_told(daemon, tapes_[worker], worker + 1); }));
    }
  }
  [[nodiscard]] pid_t operator[](uint32_t worker) const { return pids_[worker]; }
  void expect_all_was_right(const char* name) {
    for (const pid_t pid : pids_) {
      ::kill(pid, SIGTERM);
      int status = -1;
      (void)::waitpid(pid, &status, 0);
      CHECK(status == 0);
    }
    expect_in_order(tapes_.history(), name, [](uint64_t) { return 0; });
  }

 private:
  Tapes tapes_;
  std::vector<pid_t> pids_{};
};

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
  Workers workers(daemon, 2);
  ::usleep(100'000);
  const Resources before = daemon.resources();
  ::kill(workers[0], SIGSTOP);
  ::sleep(seconds);
  CHECK(peek(observer.rank().clients_attached) == 3);
  CHECK(peek(observer.rank().clients_gone) == 0);
  CHECK(daemon.resources() == before);
  ::kill(workers[0], SIGCONT);
  ::usleep(50'000);
  workers.expect_all_was_right("stop_client");
  fmt::print("a client stood still for {} s and went on\n", seconds);
}

TEST_CASE("a daemon that is stopped loses nothing") {
  DaemonProcess daemon;
  daemon.start();
  Client client = attach_to(daemon);
  Workers workers(daemon, 1);
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
  workers.expect_all_was_right("stop_daemon");
}

TEST_CASE("many short stops at any moment lose nothing and free nothing") {
  constexpr uint32_t kClients = 4;
  const uint64_t stops_wanted = setting("COPYKV_STORM_STOPS", 1'000);
  DaemonProcess daemon;
  daemon.start();
  const RawClient observer(daemon.socket_path());
  Workers workers(daemon, kClients);
  ::usleep(100'000);
  const Resources before = daemon.resources();
  const uint64_t requests_before = peek(daemon_block(observer.rank(), 0).requests);
  Random random(1);
  Stops stops;
  for (uint64_t stop = 0; stop < stops_wanted; ++stop) {
    const uint64_t victim = random.below(kClients + 1);
    ++(victim == kClients ? stops.of_the_daemon : stops.of_clients);
    stop_for_a_moment(victim == kClients ? daemon.pid() : workers[static_cast<uint32_t>(victim)],
                      random, stops);
    ::usleep(static_cast<useconds_t>(random.below(1'000)));
  }
  CHECK(stops.told == stops_wanted);
  CHECK(peek(observer.rank().clients_attached) == kClients + 1);
  CHECK(peek(observer.rank().clients_gone) == 0);
  CHECK(daemon.resources() == before);
  workers.expect_all_was_right("stops");
  const uint64_t requests = peek(daemon_block(observer.rank(), 0).requests) - requests_before;
  CHECK(requests > stops_wanted);
  fmt::print("{} stops of clients and {} of the daemon, {} operations meanwhile\n",
             stops.of_clients, stops.of_the_daemon, requests);
  CHECK(daemon.stop() == 0);
}

}  // namespace copykv::storm
