// SPDX-License-Identifier: Apache-2.0
// Whoever may attach cannot keep others from it: floods, connections that say nothing, memory for
// clients.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <thread>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "tests/storm/attacker.hpp"
#include "tests/storm/daemon_process.hpp"
#include "tests/storm/raw_client.hpp"

namespace copykv::storm {
namespace {

const SystemClock kClock;
/// Far above what an attach takes under a flood (a few ms), far below what a stuck one would.
constexpr uint64_t kAttachMsMax = 1'000;

/// Connects without a pause, and each time keeps the last `kept` connections open.
int flood_with_connections(const std::string& path, size_t kept) {
  std::deque<RawSocket> sockets;
  while (true) {
    sockets.emplace_back(path);
    if (sockets.size() > kept) sockets.pop_front();
  }
}

/// The slowest of 20 attaches, each with a put and a get; all must succeed.
uint64_t slowest_attach_ms(const DaemonProcess& daemon) {
  uint64_t slowest_ns = 0;
  for (uint32_t attach = 0; attach < 20; ++attach) {
    const uint64_t began_ns = kClock.now_ns();
    AttachResult attached = Client::attach(daemon.client_options());
    slowest_ns = std::max(slowest_ns, kClock.now_ns() - began_ns);
    INFO(attached.error);
    REQUIRE(attached.client.has_value());
    CHECK(attached.client->put("key", "value").ok());
    CHECK(attached.client->get("key").value == "value");
  }
  return slowest_ns / kNanosPerMilli;
}

uint64_t refused(const DaemonProcess& daemon) {
  return peek(RawClient(daemon.socket_path()).rank().attaches_refused);
}

}  // namespace

TEST_CASE("connections that say nothing take no client's place and end after five seconds") {
  constexpr uint32_t kSilent = 400;
  DaemonProcess daemon({"--memory", "64MiB", "--max-clients", "64"});
  daemon.start();
  std::deque<RawSocket> silent;
  for (uint32_t number = 0; number < kSilent; ++number) silent.emplace_back(daemon.socket_path());
  CHECK(slowest_attach_ms(daemon) < kAttachMsMax);
  // The first ones had to go when there were too many.
  Welcome welcome{};
  REQUIRE(silent.front().receive_welcome(welcome).bytes == sizeof(welcome));
  CHECK(welcome.refusal == static_cast<uint32_t>(Refusal::bad_message));
  // The last one has its time, and no more.
  const RawSocket last(daemon.socket_path());
  const uint64_t began_ns = kClock.now_ns();
  REQUIRE(last.receive_welcome(welcome).bytes == sizeof(welcome));
  CHECK(kClock.now_ns() - began_ns > 4 * kNanosPerSecond);
  CHECK(get_text(welcome.text).find("no attach message came in time") != std::string::npos);
  CHECK(last.closed_by_daemon());
  CHECK(daemon.resources().descriptors < 100);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a hello may come late") {
  DaemonProcess daemon;
  daemon.start();
  const RawSocket socket(daemon.socket_path());
  ::usleep(300'000);
  socket.send(valid_hello());
  Welcome welcome{};
  const Received received = socket.receive_welcome(welcome);
  CHECK(received.descriptors.size() == 4);
  CHECK(welcome.refusal == 0);
  // It is a client like any other: watched, and freed when it goes.
  const BulkRequest bulk{message_head(MessageType::bulk_request, sizeof(bulk)), 4096};
  socket.send(bulk);
  BulkGrant grant{};
  CHECK(::recv(socket.fd(), &grant, sizeof(grant), 0) == sizeof(grant));
  CHECK(grant.bytes == 4096);
}

TEST_CASE("a flood of connections keeps nobody from attaching") {
  DaemonProcess daemon;
  daemon.start();
  const Resources before = daemon.resources();
  {
    const Attacker hangs_up([&] { return flood_with_connections(daemon.socket_path(), 0); });
    const Attacker holds_on([&] { return flood_with_connections(daemon.socket_path(), 500); });
    ::usleep(300'000);
    const uint64_t slowest_ms = slowest_attach_ms(daemon);
    CHECK(slowest_ms < kAttachMsMax);
    CHECK(daemon.resources().descriptors < before.descriptors + 600);
    fmt::print("slowest of 20 attaches beside two floods: {} ms\n", slowest_ms);
  }
  CHECK(refused(daemon) > 100);
  for (uint32_t tries = 0; tries < 800 && !(daemon.resources() == before); ++tries) {
    ::usleep(10'000);
  }
  CHECK(daemon.resources() == before);
}

TEST_CASE("a process that attaches in a loop is told to stop, and is the only one") {
  DaemonProcess daemon({"--memory", "64MiB", "--max-clients", "8", "--attach-rate", "10"});
  daemon.start();
  std::string told;
  uint32_t attached = 0;
  for (; attached < 2'000 && told.empty(); ++attached) {
    const AttachResult once_more = Client::attach(daemon.client_options());
    if (!once_more.client && once_more.error.find("--max-clients") == std::string::npos) {
      CHECK(once_more.status == Status::no_space);
      told = once_more.error;
    }
  }
  CHECK(attached > 1'000);
  CHECK(told.find(fmt::format("process {} attaches more than 10 times a second", ::getpid())) !=
        std::string::npos);
  CHECK(told.find("--attach-rate") != std::string::npos);
  const pid_t other =
      in_child([&] { return Client::attach(daemon.client_options()).client ? 0 : 1; });
  int status = -1;
  REQUIRE(::waitpid(other, &status, 0) == other);
  CHECK(status == 0);
  ::usleep(300'000);
  CHECK(Client::attach(daemon.client_options()).client.has_value());
}

TEST_CASE("memory for all clients together has a limit, for segments and for bulk memory") {
  DaemonProcess daemon({"--memory", "64MiB", "--clients-memory", "8MiB"});
  daemon.start();
  RawClient large(daemon.socket_path(), [] {
    Hello hello = valid_hello();
    hello.bulk_bytes_max = 64U << 20;
    return hello;
  }());
  CHECK(large.grow_bulk(4U << 20) == 4U << 20);
  CHECK(large.grow_bulk(8U << 20) == 4U << 20);  // what was granted stays
  Hello hello = valid_hello();
  hello.queue_depth = kQueueDepthMax;
  hello.slot_payload_bytes = kSlotPayloadBytesMax;
  const RawSocket socket(daemon.socket_path());
  socket.send(hello);  // a segment of 4 MiB and a little
  Welcome welcome{};
  REQUIRE(socket.receive_welcome(welcome).bytes == sizeof(welcome));
  CHECK(welcome.refusal == static_cast<uint32_t>(Refusal::no_memory));
  CHECK(get_text(welcome.text).find("--clients-memory") != std::string::npos);
  {
    Client small = attach_to(daemon);
    CHECK(small.put("key", "value").ok());
  }
  // What one client leaves, others may have.
  large = RawClient(daemon.socket_path());
  bool has_room = false;
  for (uint32_t tries = 0; tries < 500 && !has_room; ++tries) {
    const RawSocket again(daemon.socket_path());
    again.send(hello);
    has_room = again.receive_welcome(welcome).descriptors.size() == 4;
    if (!has_room) ::usleep(2'000);
  }
  CHECK(has_room);
}

}  // namespace copykv::storm
