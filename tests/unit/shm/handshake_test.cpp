// SPDX-License-Identifier: Apache-2.0
// Messages of the attach: what is accepted, what is refused and why, and descriptors on the way.
#include "shm/handshake.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <string>

#include <catch2/catch.hpp>

using namespace copykv;

namespace {

Hello usual_hello() {
  Hello hello{};
  hello.head = message_head(MessageType::hello, sizeof(hello));
  hello.fingerprint = layout_fingerprint();
  hello.queue_depth = 16;
  hello.slot_payload_bytes = 4096;
  hello.bulk_bytes_max = 1U << 20;
  return hello;
}

struct Verdict {
  Refusal refusal;
  std::string text;
};

Verdict judge(const std::function<void(Hello&)>& change, size_t bytes = sizeof(Hello)) {
  Hello hello = usual_hello();
  change(hello);
  Verdict verdict;
  verdict.refusal = check_hello(&hello, bytes, verdict.text);
  return verdict;
}

struct SocketPair {
  SocketPair() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    one = Fd(ends[0]);
    other = Fd(ends[1]);
  }
  Fd one;
  Fd other;
};

}  // namespace

TEST_CASE("a hello of the same build is accepted") {
  const Verdict verdict = judge([](Hello&) {});
  REQUIRE(verdict.refusal == Refusal::none);
  REQUIRE(verdict.text.empty());
  REQUIRE(judge([](Hello& h) { h.has_membarrier = 1; }).refusal == Refusal::none);
  REQUIRE(judge([](Hello& h) { ++h.head.abi_minor; }).refusal == Refusal::none);
  REQUIRE(judge([](Hello& h) { h.bulk_bytes_max = 0; }).refusal == Refusal::none);
}

TEST_CASE("each bad hello is refused for its own reason, in one line") {
  struct Case {
    std::function<void(Hello&)> change;
    Refusal refusal;
    const char* text;
  };
  const Case cases[] = {
      {[](Hello& h) { h.head.magic ^= 1; }, Refusal::bad_message, "not a copykv attach"},
      {[](Hello& h) { h.head.type = 2; }, Refusal::bad_message, "not a copykv attach"},
      {[](Hello& h) { h.head.type = 0; }, Refusal::bad_message, "not a copykv attach"},
      {[](Hello& h) { ++h.head.abi_major; }, Refusal::version, "ABI 2.0"},
      {[](Hello& h) { --h.head.message_bytes; }, Refusal::bad_message, "56 B needed"},
      {[](Hello& h) { h.fingerprint ^= 1; }, Refusal::fingerprint, "lays out shared memory"},
      {[](Hello& h) { h.queue_depth = 0; }, Refusal::bad_options, "queue depth 0"},
      {[](Hello& h) { h.queue_depth = 65; }, Refusal::bad_options, "queue depth 65"},
      {[](Hello& h) { h.slot_payload_bytes = 0; }, Refusal::bad_options, "slot payload 0"},
      {[](Hello& h) { h.slot_payload_bytes = 4100; }, Refusal::bad_options, "slot payload 4100"},
      {[](Hello& h) { h.slot_payload_bytes = 69632; }, Refusal::bad_options, "payload 69632"},
      {[](Hello& h) { h.bulk_bytes_max = 4095; }, Refusal::bad_options, "bulk 4095"},
      {[](Hello& h) { h.bulk_bytes_max = UINT64_MAX; }, Refusal::bad_options, "at most 1 TiB"},
      {[](Hello& h) { h.has_membarrier = 2; }, Refusal::bad_options, "out of range"},
  };
  for (const Case& one : cases) {
    const Verdict verdict = judge(one.change);
    CAPTURE(verdict.text);
    CHECK(verdict.refusal == one.refusal);
    CHECK_THAT(verdict.text, Catch::Contains(one.text));
    CHECK(verdict.text.find('\n') == std::string::npos);
    CHECK(verdict.text.size() < sizeof(Welcome::text));
  }
}

TEST_CASE("a hello of any other length is refused") {
  for (size_t bytes = 0; bytes < sizeof(Hello); ++bytes) {
    CHECK(judge([](Hello&) {}, bytes).refusal == Refusal::bad_message);
  }
  std::array<std::byte, sizeof(Hello) + 8> longer{};
  const Hello hello = usual_hello();
  std::memcpy(longer.data(), &hello, sizeof(hello));
  std::string text;
  CHECK(check_hello(longer.data(), longer.size(), text) == Refusal::bad_message);
}

TEST_CASE("only a bulk request is taken as one") {
  BulkRequest request{message_head(MessageType::bulk_request, sizeof(request)), 4096};
  REQUIRE(check_bulk_request(&request, sizeof(request)));
  REQUIRE_FALSE(check_bulk_request(&request, sizeof(request) - 1));
  BulkRequest other = request;
  other.head.magic ^= 1;
  REQUIRE_FALSE(check_bulk_request(&other, sizeof(other)));
  other = request;
  other.head.type = static_cast<uint32_t>(MessageType::bulk_grant);
  REQUIRE_FALSE(check_bulk_request(&other, sizeof(other)));
}

TEST_CASE("texts end, whatever their length") {
  std::array<char, 8> room;
  for (const std::string_view text : {"", "abc", "1234567", "12345678", "a much longer one"}) {
    room.fill('#');
    set_text(room, text);
    REQUIRE(room.back() == '\0');
    REQUIRE(get_text(room) == text.substr(0, 7));
  }
  room.fill('#');  // from a peer that forgot the end
  REQUIRE(get_text(room) == "########");
}

TEST_CASE("descriptors arrive in order and are closed at exec") {
  SocketPair sockets;
  std::array<Fd, 3> sent;
  std::array<int, 3> numbers;
  for (size_t index = 0; index < sent.size(); ++index) {
    sent[index] = Fd(::eventfd(static_cast<unsigned>(100 + index), EFD_NONBLOCK));
    numbers[index] = sent[index].get();
  }
  const uint64_t message = 42;
  REQUIRE(send_message(sockets.one.get(), &message, sizeof(message), numbers));
  uint64_t got = 0;
  Received received = receive_message(sockets.other.get(), &got, sizeof(got));
  REQUIRE(received.bytes == sizeof(message));
  REQUIRE(got == 42);
  REQUIRE(received.descriptors.size() == 3);
  for (size_t index = 0; index < sent.size(); ++index) {
    uint64_t counter = 0;
    REQUIRE(::read(received.descriptors[index].get(), &counter, 8) == 8);
    REQUIRE(counter == 100 + index);
    REQUIRE((::fcntl(received.descriptors[index].get(), F_GETFD) & FD_CLOEXEC) != 0);
  }
}

TEST_CASE("a peer that is gone is an end of file, and sending to it fails") {
  SocketPair sockets;
  sockets.one.reset();
  uint64_t got = 0;
  REQUIRE(receive_message(sockets.other.get(), &got, sizeof(got)).bytes == 0);
  REQUIRE_FALSE(send_message(sockets.other.get(), &got, sizeof(got)));
}

TEST_CASE("what a peer said before it hung up is read, also when it did not listen") {
  SocketPair sockets;
  const uint64_t unread = 1;
  const uint64_t reason = 2;
  REQUIRE(send_message(sockets.one.get(), &unread, sizeof(unread)));
  REQUIRE(send_message(sockets.other.get(), &reason, sizeof(reason)));
  sockets.other.reset();
  uint64_t got = 0;
  REQUIRE(receive_message(sockets.one.get(), &got, sizeof(got)).bytes == sizeof(got));
  REQUIRE(got == 2);
  REQUIRE(receive_message(sockets.one.get(), &got, sizeof(got)).bytes == 0);
}

TEST_CASE("a reader that does not read never blocks the sender") {
  SocketPair sockets;
  const std::array<std::byte, 4096> message{};
  uint32_t sent = 0;
  while (sent < 1'000'000 && send_message(sockets.one.get(), message.data(), message.size())) {
    ++sent;
  }
  REQUIRE(sent > 0);
  REQUIRE(sent < 1'000'000);
}
