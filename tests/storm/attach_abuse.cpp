// SPDX-License-Identifier: Apache-2.0
// Everything that can go wrong at attach, each with its own refusal, and none of it costs the
// daemon anything that stays.
#include <fmt/format.h>
#include <grp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <set>
#include <thread>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "tests/storm/daemon_process.hpp"
#include "tests/storm/raw_client.hpp"

namespace copykv::storm {
namespace {

constexpr unsigned kNobody = 65534;

struct Refused {
  Refusal refusal = Refusal::none;
  std::string text;
};

/// Sends one message; the answer must be a refusal, then end-of-file.
Refused refusal_of(const DaemonProcess& daemon, std::span<const std::byte> message) {
  const RawSocket socket(daemon.socket_path());
  socket.send(message);
  Welcome welcome{};
  const Received received = socket.receive_welcome(welcome);
  CHECK(received.bytes == static_cast<ssize_t>(sizeof(welcome)));
  CHECK(received.descriptors.empty());
  CHECK(socket.closed_by_daemon());
  return {static_cast<Refusal>(welcome.refusal), get_text(welcome.text)};
}

template <class Message>
Refused refusal_of(const DaemonProcess& daemon, const Message& message) {
  return refusal_of(daemon, std::as_bytes(std::span(&message, 1)));
}

void check_unharmed(const DaemonProcess& daemon, const Resources& before) {
  for (uint32_t tries = 0; tries < 500 && !(daemon.resources() == before); ++tries) {
    ::usleep(10'000);
  }
  const Resources after = daemon.resources();
  CHECK(after.descriptors == before.descriptors);
  CHECK(after.client_mappings == before.client_mappings);
  CHECK(attach_to(daemon).put("still", "served").ok());
}

}  // namespace

TEST_CASE("each wrong hello has its own refusal, with the remedy") {
  DaemonProcess daemon;
  daemon.start();
  const Resources before = daemon.resources();
  std::set<std::string> texts;
  const auto check = [&](const Refused& got, Refusal wanted, const char* word) {
    INFO(got.text);
    CHECK(got.refusal == wanted);
    CHECK(got.text.find(word) != std::string::npos);
    CHECK(texts.insert(got.text).second);  // its own text
  };

  const Hello good = valid_hello();
  const auto bytes = std::as_bytes(std::span(&good, 1));
  check(refusal_of(daemon, bytes.first(10)), Refusal::bad_message, "truncated");
  check(refusal_of(daemon, bytes.first(sizeof(good) - 1)), Refusal::bad_message, "55 B");
  Hello hello = good;
  hello.head.magic ^= 1;
  check(refusal_of(daemon, hello), Refusal::bad_message, "not a copykv attach message");
  hello = good;
  hello.head.abi_major = 77;
  check(refusal_of(daemon, hello), Refusal::version, "ABI 77.");
  hello = good;
  hello.fingerprint ^= 1;
  check(refusal_of(daemon, hello), Refusal::fingerprint, "same sources");
  hello = good;
  hello.queue_depth = 65;
  check(refusal_of(daemon, hello), Refusal::bad_options, "queue depth 65");
  hello = good;
  hello.slot_payload_bytes = 4097;
  check(refusal_of(daemon, hello), Refusal::bad_options, "4097 B");
  hello = good;
  hello.bulk_bytes_max = UINT64_MAX;
  check(refusal_of(daemon, hello), Refusal::bad_options, "bulk 18446744073709551615");
  hello = good;
  hello.queue_depth = 0;
  check(refusal_of(daemon, hello), Refusal::bad_options, "queue depth 0");
  const BulkRequest bulk{message_head(MessageType::bulk_request, sizeof(bulk)), 4096};
  CHECK(refusal_of(daemon, bulk).refusal == Refusal::bad_message);
  check_unharmed(daemon, before);
}

TEST_CASE("garbage messages and clients that leave at any step cost nothing that stays") {
  DaemonProcess daemon;
  daemon.start();
  const Resources before = daemon.resources();
  Random random(1);
  std::array<uint64_t, 128> garbage;
  for (uint32_t round = 0; round < 300; ++round) {
    for (uint64_t& word : garbage) word = random.next();
    const auto message = std::as_bytes(std::span(garbage)).first(1 + random.below(1023));
    switch (round % 6) {
      case 0: {  // leaves before a word is said
        const RawSocket socket(daemon.socket_path());
        break;
      }
      case 1:
        CHECK(refusal_of(daemon, message).refusal == Refusal::bad_message);
        break;
      case 2: {  // leaves before the answer is read
        const RawSocket socket(daemon.socket_path());
        socket.send(valid_hello());
        break;
      }
      case 3: {  // leaves at once after attaching
        const RawClient client(daemon.socket_path());
        break;
      }
      case 4: {  // says something senseless when attached
        const RawClient client(daemon.socket_path());
        client.socket().send(message);
        CHECK(client.socket().closed_by_daemon());
        break;
      }
      default: {  // half-closes
        const RawSocket socket(daemon.socket_path());
        ::shutdown(socket.fd(), SHUT_WR);
        CHECK(socket.closed_by_daemon());
      }
    }
  }
  check_unharmed(daemon, before);
}

TEST_CASE("descriptors that a client sends are not kept") {
  DaemonProcess daemon;
  daemon.start();
  const RawClient client(daemon.socket_path());
  const Resources before = daemon.resources();
  const int gifts[] = {0, 1, 2};
  const BulkRequest bulk{message_head(MessageType::bulk_request, sizeof(bulk)), 0};
  for (uint32_t round = 0; round < 50; ++round) {
    CHECK(send_message(client.socket().fd(), &bulk, sizeof(bulk), gifts));
    BulkGrant grant;
    CHECK(::recv(client.socket().fd(), &grant, sizeof(grant), 0) > 0);
  }
  CHECK(daemon.resources() == before);
}

TEST_CASE("bulk memory beyond the limit is refused with the reason, and what is granted stays") {
  DaemonProcess daemon({"--memory", "64MiB", "--client-bulk", "2MiB"});
  daemon.start();
  Hello hello = valid_hello();
  hello.bulk_bytes_max = 1U << 30;
  RawClient client(daemon.socket_path(), hello);
  CHECK(client.geometry().bulk_bytes_max == 2U << 20);
  CHECK(client.grow_bulk(1U << 20) == 1U << 20);
  CHECK(client.grow_bulk(UINT64_MAX) == 1U << 20);
  CHECK(client.grow_bulk((2U << 20) + 1) == 1U << 20);
  CHECK(client.grow_bulk(2U << 20) == 2U << 20);
  CHECK(client.grow_bulk(0) == 2U << 20);

  // The library says which limit it was.
  Client limited = attach_to(daemon);
  CHECK(!limited.reserve(3U << 20));
  CHECK(limited.put("key", std::string(3U << 20, 'x')).status == Status::value_too_large);
  CHECK(limited.put("key", std::string(1U << 20, 'x')).ok());
}

TEST_CASE("the limit of clients is a refusal, and room again when one leaves") {
  DaemonProcess daemon({"--memory", "64MiB", "--max-clients", "3"});
  daemon.start();
  Client first = attach_to(daemon);
  Client second = attach_to(daemon);
  {
    const Client third = attach_to(daemon);
    for (uint32_t attempt = 0; attempt < 20; ++attempt) {
      const AttachResult refused = Client::attach(daemon.client_options());
      INFO(refused.error);
      CHECK(!refused.client);
      CHECK(refused.error.find("--max-clients") != std::string::npos);
    }
  }
  bool attached = false;
  for (uint32_t tries = 0; tries < 500 && !attached; ++tries) {
    attached = Client::attach(daemon.client_options()).client.has_value();
    ::usleep(2'000);
  }
  CHECK(attached);
  CHECK(first.put("key", "value").ok());
  CHECK(second.get("key").value == "value");
}

TEST_CASE("a new client is not taken for the dead one whose number it got") {
  constexpr uint32_t kLeaving = 30;
  DaemonProcess daemon;
  daemon.start();
  // Children that detach at the first word and end at the second.
  int detach[2];
  int end[2];
  int done[2];
  REQUIRE((::pipe(detach) == 0 && ::pipe(end) == 0 && ::pipe(done) == 0));
  std::vector<pid_t> children;
  for (uint32_t number = 0; number < kLeaving; ++number) {
    children.push_back(in_child([&] {
      char word = 'x';
      {
        const RawClient client(daemon.socket_path());
        if (::write(done[1], &word, 1) != 1 || ::read(detach[0], &word, 1) != 1) return 1;
      }
      if (::write(done[1], &word, 1) != 1 || ::read(end[0], &word, 1) != 1) return 1;
      return 0;
    }));
  }
  ::close(done[1]);  // a child that fails is then an end-of-file
  std::array<char, kLeaving> all{};
  const auto wait_for_all = [&] {
    for (char& word : all) REQUIRE(::read(done[0], &word, 1) == 1);
  };
  wait_for_all();
  // One round of the daemon finds, in this order: ends of sockets, new clients, ends of processes.
  daemon.send_signal(SIGSTOP);
  REQUIRE(::write(detach[1], all.data(), all.size()) == static_cast<ssize_t>(all.size()));
  wait_for_all();
  std::array<std::string, 8> errors;
  std::vector<std::thread> arriving;
  for (std::string& error : errors) {
    arriving.emplace_back([&] { error = Client::attach(daemon.client_options()).error; });
  }
  ::usleep(50'000);
  REQUIRE(::write(end[1], all.data(), all.size()) == static_cast<ssize_t>(all.size()));
  for (const pid_t pid : children) REQUIRE(::waitpid(pid, nullptr, 0) == pid);
  daemon.send_signal(SIGCONT);
  for (std::thread& thread : arriving) thread.join();
  for (const std::string& error : errors) CHECK(error == "");
}

TEST_CASE("another user is refused") {
  if (::geteuid() != 0) {
    WARN("skipped: needs root to become another user");
    return;
  }
  DaemonProcess daemon;
  daemon.start();
  // The directories would keep nobody out of the socket: open them, so that the check is the uid's.
  namespace fs = std::filesystem;
  const fs::path socket = daemon.socket_path();
  for (const fs::path& path : {socket.parent_path().parent_path(), socket.parent_path(), socket}) {
    fs::permissions(path, fs::perms::all);
  }
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t pid = in_child([&] {
    if (::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) {
      return 99;
    }
    const RawSocket raw(daemon.socket_path());
    Welcome welcome{};
    const Received received = raw.receive_welcome(welcome);
    ::dprintf(ends[1], "%s", get_text(welcome.text).c_str());
    return received.bytes == sizeof(welcome) ? static_cast<int>(welcome.refusal) : 98;
  });
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  ::close(ends[1]);
  std::string text(512, '\0');
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, ::read(ends[0], text.data(), 512))));
  ::close(ends[0]);
  INFO(text);
  CHECK(WEXITSTATUS(status) == static_cast<int>(Refusal::wrong_user));
  CHECK(text.find("belongs to user 0") != std::string::npos);
}

TEST_CASE("a segment that lies about itself is refused by the library's check") {
  DaemonProcess daemon;
  daemon.start();
  const RawClient raw(daemon.socket_path());
  std::vector<std::byte> copy(raw.base(), raw.base() + raw.geometry().bulk_offset());
  auto& header = *reinterpret_cast<SegmentHeader*>(copy.data());
  const SegmentHeader good = header;
  const uint64_t whole_bytes = raw.geometry().segment_bytes();
  SegmentGeometry geometry;
  const auto error_of = [&](auto change) {
    header = good;
    change(header);
    return check_segment(copy.data(), whole_bytes, geometry);
  };
  CHECK(error_of([](SegmentHeader&) {}).empty());
  CHECK(error_of([](auto& h) { h.magic = 0; }).find("magic") != std::string::npos);
  CHECK(error_of([](auto& h) { h.ready = 0; }).find("not ready") != std::string::npos);
  CHECK(error_of([](auto& h) { h.abi_major = 9; }).find("ABI 9.") != std::string::npos);
  CHECK(error_of([](auto& h) { h.fingerprint = 1; }).find("layout") != std::string::npos);
  CHECK(error_of([](auto& h) { h.queue_depth = 0; }).find("out of range") != std::string::npos);
  CHECK(error_of([](auto& h) { h.segment_bytes *= 2; }).find("truncated") != std::string::npos);
  CHECK(error_of([](auto& h) { h.bulk_offset += 8; }).find("inconsistent") != std::string::npos);
  header = good;
  CHECK(check_segment(copy.data(), 100, geometry).find("truncated") != std::string::npos);
  CHECK(check_segment(copy.data(), whole_bytes - 1, geometry).find("truncated") !=
        std::string::npos);
}

TEST_CASE("nobody can write what the daemon shares for reading, or shrink what it maps") {
  DaemonProcess daemon;
  daemon.start();
  const RawSocket socket(daemon.socket_path());
  socket.send(valid_hello());
  Welcome welcome{};
  const Received received = socket.receive_welcome(welcome);
  REQUIRE(received.descriptors.size() == 4);  // segment, rank page, wake, store
  const int segment = received.descriptors[0].get();
  CHECK(::ftruncate(segment, 0) != 0);
  CHECK(::ftruncate(segment, static_cast<off_t>(welcome.segment_bytes * 2)) != 0);
  for (const int fd : {received.descriptors[1].get(), received.descriptors[3].get()}) {
    CHECK(!map_descriptor(fd, kPageBytes, Access::read_write, "shared memory"));
    CHECK(bool(map_descriptor(fd, kPageBytes, Access::read_only, "shared memory")));
    const uint64_t word = 1;
    CHECK(::pwrite(fd, &word, sizeof(word), 0) < 0);
    CHECK(::ftruncate(fd, 0) != 0);
    // Nor through a fresh open of the same file.
    const Fd again(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDWR | O_CLOEXEC));
    if (again) CHECK(!map_descriptor(again.get(), kPageBytes, Access::read_write, "shared memory"));
  }
  CHECK(attach_to(daemon).put("key", "value").ok());
}

}  // namespace copykv::storm
