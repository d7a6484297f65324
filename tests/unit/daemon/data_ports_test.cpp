// SPDX-License-Identifier: Apache-2.0
// Strangers at a port where somebody else accepts: which connections are ended, and which are not.
#include "daemon/data_ports.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/fd.hpp"

using namespace copykv;

namespace {

/// A port of loopback, with both ends of every connection in this process.
class Port {
 public:
  Port() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address_);
    REQUIRE(::bind(listener_.get(), self(), bytes) == 0);
    REQUIRE(::listen(listener_.get(), 512) == 0);
    REQUIRE(::getsockname(listener_.get(), self(), &bytes) == 0);
  }

  /// Somebody connects, says so many bytes, and is accepted.
  void call(size_t bytes) {
    Fd caller(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(caller.get(), self(), sizeof(address_)) == 0);
    const std::string said(bytes, 'x');
    REQUIRE(::send(caller.get(), said.data(), bytes, 0) == static_cast<ssize_t>(bytes));
    callers.push_back(std::move(caller));
    accepted.emplace_back(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(accepted.back());
  }
  [[nodiscard]] size_t ended() const {
    size_t count = 0;
    for (const Fd& caller : callers) {
      pollfd waiting{caller.get(), POLLRDHUP, 0};
      count += ::poll(&waiting, 1, 0) == 1 && (waiting.revents & POLLRDHUP) != 0 ? 1 : 0;
    }
    return count;
  }

  std::vector<Fd> callers{};
  std::vector<Fd> accepted{};

 private:
  [[nodiscard]] sockaddr* self() { return reinterpret_cast<sockaddr*>(&address_); }
  Fd listener_;
  sockaddr_in address_{};
};

void look_at_all(DataPorts& ports) {
  for (uint32_t turn = 0; turn < 8; ++turn) (void)ports.look();
}

}  // namespace

TEST_CASE("connections that say nothing are ended beyond a number, those that speak are not") {
  Port rendezvous;
  DataPorts ports;
  ports.leave_out();
  Port data;
  ports.find();
  for (uint32_t stranger = 0; stranger < kStrangersAtPortsMax; ++stranger) data.call(63);
  for (uint32_t other = 0; other < 300; ++other) rendezvous.call(0);
  look_at_all(ports);
  CHECK(data.ended() == 0);
  for (uint32_t peer = 0; peer < 20; ++peer) data.call(64);
  for (uint32_t stranger = 0; stranger < 30; ++stranger) data.call(0);
  look_at_all(ports);
  CHECK(data.ended() >= 30);
  CHECK(ports.hung_up() >= 30);
  CHECK(rendezvous.ended() == 0);
  // Both ends stand in this process; those that connected keep theirs.
  size_t peers_ended = 0;
  for (size_t peer = kStrangersAtPortsMax; peer < kStrangersAtPortsMax + 20; ++peer) {
    pollfd waiting{data.callers[peer].get(), POLLRDHUP, 0};
    peers_ended += ::poll(&waiting, 1, 0) == 1 && (waiting.revents & POLLRDHUP) != 0 ? 1 : 0;
  }
  CHECK(peers_ended == 0);
}

TEST_CASE(
    "a connection that stays silent is ended after five seconds, one that speaks in time not") {
  DataPorts ports;
  ports.leave_out();
  Port data;
  ports.find();
  data.call(0);
  data.call(0);
  CHECK(ports.look());
  CHECK(data.ended() == 0);
  ::usleep(3'000'000);
  CHECK(::send(data.callers[0].get(), std::string(64, 'x').data(), 64, 0) == 64);
  CHECK(data.ended() == 0);
  ::usleep(2'200'000);
  look_at_all(ports);
  CHECK(data.ended() == 1);
  CHECK(ports.hung_up() == 1);
}
