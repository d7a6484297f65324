// SPDX-License-Identifier: Apache-2.0
// What is libfabric's alone: addresses with an identity, and start-up errors that help.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "copyrpc/fabric/fabric.hpp"
#include "copyrpc/fabric/ofi/address.hpp"
#include "copyrpc/fabric/ofi/ofi_fabric.hpp"

namespace copyrpc::conformance {
namespace {

using namespace copyrpc::ofi;

OfiOptions tcp_options() {
  OfiOptions options;
  options.node = "127.0.0.1";
  return options;
}

TEST_CASE("an endpoint address survives its encoding, and nothing else is taken for one") {
  const EndpointAddress address{true, random_identity(), "some bytes"};
  const auto bytes = encode_address(address);
  REQUIRE(bytes);
  const auto decoded = decode_address(*bytes);
  REQUIRE(decoded);
  CHECK(decoded->connected);
  CHECK(decoded->identity == address.identity);
  CHECK(decoded->raw == address.raw);
  for (size_t length = 0; length < bytes->size(); ++length)
    CHECK_FALSE(decode_address(bytes->substr(0, length)));
  CHECK_FALSE(decode_address(*bytes + "x"));
  std::string other = *bytes;
  other[1] = 'x';
  CHECK_FALSE(decode_address(other));
  other = *bytes;
  other[0] = 2;
  CHECK_FALSE(decode_address(other));
  CHECK_FALSE(encode_address({true, {}, std::string(kAddressBytesMax, 'a')}));
}

TEST_CASE("whoever has taken over the network address of a peer is not that peer") {
  auto fabric = make_ofi_fabric(tcp_options());
  auto other = make_ofi_fabric(tcp_options());
  REQUIRE(fabric);
  REQUIRE(other);
  auto address = decode_address((*other)->address());
  REQUIRE(address);
  address->identity = random_identity();
  REQUIRE((*fabric)->connect(5, *encode_address(*address)));
  Completion completions[4];
  uint32_t taken = 0;
  for (uint32_t polls = 0; polls < 1'000'000 && taken == 0; ++polls) {
    taken = (*fabric)->poll(completions);
    CHECK((*other)->poll(std::span(completions).subspan(2)) == 0);
  }
  REQUIRE(taken == 1);
  CHECK(completions[0].kind == Completion::Kind::peer_lost);
  CHECK(completions[0].peer == 5);
}

/// A stranger's connection to that endpoint, which takes whatever comes.
class Stranger {
 public:
  explicit Stranger(const Fabric& victim) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    const auto address = decode_address(victim.address());
    REQUIRE(address);
    REQUIRE(connect(fd_, reinterpret_cast<const sockaddr*>(address->raw.data()),
                    sizeof(sockaddr_in)) == 0);
  }
  ~Stranger() { close(fd_); }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  void say(const std::string& bytes) { (void)send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  /// What has been said to us; "closed" when the other side has hung up in silence.
  [[nodiscard]] std::string hear() {
    std::array<char, 512> bytes{};
    const ssize_t got = recv(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got > 0) return {bytes.data(), static_cast<size_t>(got)};
    return got == 0 || errno != EAGAIN ? "closed" : "";
  }

 private:
  int fd_;
};

/// libfabric's message that asks for a connection, with `data`.
std::string connect_message(const std::string& data) {
  constexpr char kVersion = 3;
  std::string message(32, '\0');
  message[0] = kVersion;
  message[3] = static_cast<char>(data.size());  // big endian, at 2
  message[24] = 1;                              // of our byte order
  return message + data;
}

TEST_CASE("strangers are turned away: noise, and those who do not know whom they call") {
  auto made = make_ofi_fabric(tcp_options());
  REQUIRE(made);
  Fabric& victim = **made;
  const auto progress = [&] {
    Completion completions[4];
    for (uint32_t polls = 0; polls < 2000; ++polls) CHECK(victim.poll(completions) == 0);
  };
  copykv::Random random(1);
  for (uint32_t round = 0; round < 50; ++round) {
    Stranger stranger(victim);
    std::string noise(random.below(400), '\0');
    for (char& one : noise) one = static_cast<char>(random.next());
    stranger.say(round % 2 == 0 ? noise : connect_message(noise.substr(0, 100)));
    if (round % 3 == 0) progress();
  }
  progress();
  const std::string hello = {'c', 'o', 'p', 'y', 'r', 'p', 'c', 1};
  Stranger stranger(victim);
  stranger.say(connect_message(hello + std::string(40, 'x')));
  progress();
  const std::string answer = stranger.hear();
  REQUIRE_FALSE(answer.empty());
  CHECK((answer == "closed" || answer[1] == 6));  // libfabric's refusal
  const auto mine = decode_address(victim.address());
  REQUIRE(mine);
  CHECK(answer.find(std::string(mine->identity.data(), mine->identity.size())) ==
        std::string::npos);
}

TEST_CASE("an endpoint of another kind is refused with the remedy") {
  OfiOptions shm;
  shm.provider = "shm";
  if (!ofi_missing(shm).empty()) return;
  auto fabric = make_ofi_fabric(tcp_options());
  auto other = make_ofi_fabric(shm);
  REQUIRE(fabric);
  REQUIRE(other);
  const auto connected = (*fabric)->connect(0, (*other)->address());
  REQUIRE_FALSE(connected);
  CHECK(connected.error.find("--transport") != std::string::npos);
}

TEST_CASE("transports and their providers") {
  CHECK(ofi_provider_of("ofi-tcp") == "tcp");
  CHECK(ofi_provider_of("ofi-shm") == "shm");
  CHECK(ofi_provider_of("ofi:verbs;ofi_rxm") == "verbs;ofi_rxm");
  for (const char* other : {"rc", "sim", "ofi", "ofi-udp", "ofi:"})
    CHECK(ofi_provider_of(other).empty());
  auto fabric = make_ofi_fabric(tcp_options());
  REQUIRE(fabric);
  CHECK((*fabric)->name() == "ofi-tcp");
  const auto all = ofi_providers();
  REQUIRE(all.size() >= 2);
  CHECK(all[0].name == "tcp");
  CHECK(all[0].reason.empty());
  CHECK(all[1].name == "shm");
}

TEST_CASE("what cannot be opened says why") {
  OfiOptions options = tcp_options();
  options.provider = "no-such-provider";
  auto fabric = make_ofi_fabric(options);
  REQUIRE_FALSE(fabric);
  CHECK(fabric.error.find("no-such-provider") != std::string::npos);
  CHECK(fabric.error.find("fi_info") != std::string::npos);
  CHECK(ofi_missing(options) == fabric.error);

  options = tcp_options();
  options.node = "192.0.2.77";  // documentation's: no host has it
  fabric = make_ofi_fabric(options);
  REQUIRE_FALSE(fabric);
  CHECK(fabric.error.find("192.0.2.77") != std::string::npos);
}

}  // namespace
}  // namespace copyrpc::conformance
