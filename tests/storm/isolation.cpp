// SPDX-License-Identifier: Apache-2.0
// What a client holds of the daemon's and cannot use against it or others: its segment, the
// mappings that are for reading, and what wakes the daemon.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "tests/storm/attacker.hpp"
#include "tests/storm/daemon_process.hpp"
#include "tests/storm/raw_client.hpp"

namespace copykv::storm {
namespace {

const SystemClock kClock;

/// All that a client is given: segment, rank page, wake, store.
std::vector<Fd> descriptors_of_an_attach(const RawSocket& socket) {
  socket.send(valid_hello());
  Welcome welcome{};
  Received received = socket.receive_welcome(welcome);
  REQUIRE(received.descriptors.size() == 4);
  return std::move(received.descriptors);
}

ino_t file_behind(const Fd& descriptor) {
  struct stat entry {};
  REQUIRE(::fstat(descriptor.get(), &entry) == 0);
  return entry.st_ino;
}

}  // namespace

TEST_CASE("each client has a segment and a wake of its own, and nobody else's") {
  DaemonProcess daemon;
  daemon.start();
  const RawSocket one(daemon.socket_path());
  const RawSocket other(daemon.socket_path());
  const std::vector<Fd> of_one = descriptors_of_an_attach(one);
  const std::vector<Fd> of_other = descriptors_of_an_attach(other);
  CHECK(file_behind(of_one[0]) != file_behind(of_other[0]));
  CHECK(file_behind(of_one[1]) == file_behind(of_other[1]));  // for reading
  CHECK(file_behind(of_one[3]) == file_behind(of_other[3]));  // for reading
  // Eventfds have one file for all: what one writes, only he reads.
  const uint64_t wakes = 1;
  REQUIRE(::write(of_one[2].get(), &wakes, sizeof(wakes)) == sizeof(wakes));
  uint64_t read_back = 0;
  CHECK(::read(of_other[2].get(), &read_back, sizeof(read_back)) < 0);
  CHECK(::read(of_one[2].get(), &read_back, sizeof(read_back)) == sizeof(read_back));
}

TEST_CASE("a new segment shows nothing of an earlier client's") {
  DaemonProcess daemon({"--memory", "64MiB", "--max-clients", "1"});
  daemon.start();
  {
    RawClient before(daemon.socket_path());
    REQUIRE(before.grow_bulk(1U << 20) == 1U << 20);
    for (uint64_t& word : before.words()) poke(word, uint64_t{0x7365637265742121});
  }
  for (uint32_t tries = 0; tries < 500; ++tries) {
    try {
      RawClient after(daemon.socket_path());  // it has the number of the other
      REQUIRE(after.grow_bulk(1U << 20) == 1U << 20);
      const std::span<uint64_t> words = after.words();
      CHECK(std::count(words.begin(), words.end(), 0x7365637265742121) == 0);
      return;
    } catch (const std::runtime_error&) {
      ::usleep(2'000);  // the other is not gone yet
    }
  }
  FAIL("the number was not given back");
}

TEST_CASE("a mapping for reading cannot be made one for writing") {
  DaemonProcess daemon;
  daemon.start();
  const RawSocket socket(daemon.socket_path());
  const std::vector<Fd> descriptors = descriptors_of_an_attach(socket);
  for (const Fd* shared : {&descriptors[1], &descriptors[3]}) {
    void* const page = ::mmap(nullptr, kPageBytes, PROT_READ, MAP_SHARED, shared->get(), 0);
    REQUIRE(page != MAP_FAILED);
    CHECK(::mprotect(page, kPageBytes, PROT_READ | PROT_WRITE) != 0);
    CHECK(::munmap(page, kPageBytes) == 0);
    CHECK(::fallocate(shared->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPageBytes) !=
          0);
    const int seals = ::fcntl(shared->get(), F_GET_SEALS);
    CHECK((seals & F_SEAL_SEAL) != 0);
    CHECK(::fcntl(shared->get(), F_ADD_SEALS, F_SEAL_WRITE) != 0);  // nor be spoilt for the daemon
  }
  Client client = attach_to(daemon);
  CHECK(client.put("key", "value").ok());
  CHECK(client.get("key").value == "value");
}

TEST_CASE("no client can take away or hold up what wakes the daemon for another") {
  DaemonProcess daemon({"--memory", "64MiB", "--wait", "park"});
  daemon.start();
  Options options;
  options.wait = Wait::park;
  Client victim = attach_to(daemon, options);
  REQUIRE(victim.put("key", "value").ok());
  const RawSocket socket(daemon.socket_path());
  socket.send(valid_hello());
  Welcome welcome{};
  const Received received = socket.receive_welcome(welcome);
  REQUIRE(received.descriptors.size() == 4);
  const int wake = received.descriptors[2].get();
  // Blocking from now on, for everybody who has it.
  REQUIRE(::fcntl(wake, F_SETFL, ::fcntl(wake, F_GETFL) & ~O_NONBLOCK) == 0);
  const auto slowest_get_ms = [&] {
    uint64_t slowest_ns = 0;
    for (uint32_t get = 0; get < 40; ++get) {
      ::usleep(5'000);  // the daemon sleeps by then
      const uint64_t began_ns = kClock.now_ns();
      CHECK(victim.get("key").value == "value");
      slowest_ns = std::max(slowest_ns, kClock.now_ns() - began_ns);
    }
    return slowest_ns / kNanosPerMilli;
  };
  uint64_t slowest_ms = 0;
  {
    const Attacker reader([&] {
      uint64_t wakes;
      while (::read(wake, &wakes, sizeof(wakes)) >= 0) {
      }
      return 0;
    });
    slowest_ms = slowest_get_ms();
    CHECK(slowest_ms < 90);  // a daemon that is not woken looks again after 100 ms
  }
  {
    const Attacker writer([&] {
      const uint64_t as_much_as_fits = UINT64_MAX - 1;
      while (::write(wake, &as_much_as_fits, sizeof(as_much_as_fits)) >= 0) {
      }
      return 0;
    });
    CHECK(slowest_get_ms() < 90);
    CHECK(attach_to(daemon).put("another", "value").ok());  // the control thread goes on as well
  }
  fmt::print("slowest get beside a reader of wakes: {} ms\n", slowest_ms);
  CHECK(daemon.stop() == 0);
}

}  // namespace copykv::storm
