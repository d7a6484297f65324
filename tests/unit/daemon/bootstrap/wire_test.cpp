// SPDX-License-Identifier: Apache-2.0
// Both sides of the TCP rendezvous without sockets, and whoever stands between them.
#include <fmt/format.h>

#include <functional>

#include <catch2/catch.hpp>

#include "daemon/bootstrap/bytes.hpp"
#include "daemon/bootstrap/tcp_client.hpp"
#include "daemon/bootstrap/tcp_server.hpp"
#include "tests/unit/daemon/bootstrap/ranks.hpp"

namespace copykv::test {
namespace {

using namespace copykv::bootstrap;
using Catch::Matchers::Contains;

constexpr uint32_t kRanks = 3;

/// What a message becomes on its way; both sides by default say nothing to it.
using Change = std::function<void(std::string& bytes)>;

struct Rendezvous {
  explicit Rendezvous(uint32_t ranks = kRanks)
      : all(job_at("tcp://127.0.0.1:7", ranks)), server(all[0], clock) {
    server.publish(card_of(0));
  }

  TcpServer::Id open() { return server.open("10.0.0.9:1"); }

  /// Lets a client and rank 0 talk until nobody has anything to say, or one of them ends it.
  std::optional<LinkEnd> talk(TcpServer::Id id, TcpClient& client, const Change& to_server = {},
                              const Change& to_client = {}) {
    for (int round = 0; round < 16; ++round) {
      std::string up(client.to_send());
      client.sent(up.size());
      transcript += up;
      if (!up.empty() && to_server) to_server(up);
      server.receive(id, up);
      std::string down(server.to_send(id));
      if (!down.empty()) server.sent(id, down.size());
      transcript += down;
      if (!down.empty() && to_client) to_client(down);
      if (auto end = client.receive(down)) return end;
      if (down.empty() && client.to_send().empty()) break;
    }
    return std::nullopt;
  }

  TcpClient client(uint32_t rank) {
    TcpClient made(all[rank], "here");
    made.publish(card_of(rank));
    made.begin();
    return made;
  }

  ManualClock clock{1};
  std::vector<BootstrapOptions> all;
  TcpServer server;
  std::string transcript{};
};

/// Applies `change` to the n-th piece that passes.
Change at(int n, const Change& change) {
  return [n, change, count = 0](std::string& bytes) mutable {
    if (count++ == n) change(bytes);
  };
}

void flip_last_bit(std::string& bytes) {
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
}

TEST_CASE("wire: ranks come, the last one completes it, and the secret does not travel") {
  Rendezvous table;
  auto one = table.client(1);
  auto two = table.client(2);
  const auto id_one = table.open();
  CHECK_FALSE(table.talk(id_one, one));
  CHECK(one.is_welcome());
  CHECK_FALSE(one.is_complete());
  CHECK(one.missing() == std::vector<uint32_t>{2});
  CHECK_FALSE(table.talk(table.open(), two));
  CHECK(two.is_complete());
  CHECK(table.server.is_complete());
  CHECK_FALSE(table.talk(id_one, one));
  CHECK(one.cards() == cards_of(kRanks));
  CHECK(two.cards() == cards_of(kRanks));
  CHECK(table.server.cards() == cards_of(kRanks));
  CHECK(table.transcript.find(card_of(1)) != std::string::npos);
  CHECK(table.transcript.find(table.all[0].secret) == std::string::npos);
}

TEST_CASE("wire: another version is named on both sides") {
  const auto other_version = [](std::string& bytes) { bytes[4] = 7; };
  const StderrCapture log;
  Rendezvous table;
  auto one = table.client(1);
  SECTION("the rank is older or newer") {
    // It is the rank's own check that fails when rank 0 refuses in rank 0's version.
    const auto id = table.open();
    CHECK(table.talk(id, one, at(0, other_version)));
    CHECK(table.server.wants_end(id));
    CHECK_THAT(log.text(), Contains("10.0.0.9:1 speaks version 7 of the rendezvous, not 1"));
  }
  SECTION("rank 0 is") {
    const auto end = table.talk(table.open(), one, {}, at(0, other_version));
    REQUIRE(end);
    CHECK(end->is_final);
    CHECK_THAT(end->line,
               Contains("rank 0 at here speaks version 7 of the rendezvous, this copykvd "
                        "version 1; start the same release everywhere"));
  }
}

TEST_CASE("wire: a changed, repeated or lost message ends the connection") {
  const StderrCapture log;
  Rendezvous table;
  auto one = table.client(1);
  const auto id = table.open();
  SECTION("changed: the challenge") {
    const auto end = table.talk(id, one, {}, at(0, flip_last_bit));
    REQUIRE(end);
    CHECK_THAT(end->line, Contains("has another job secret"));
  }
  SECTION("changed: the welcome") {
    const auto end = table.talk(id, one, {}, at(1, [](std::string& bytes) {
                                  bytes[kWireHeaderBytes] =
                                      static_cast<char>(bytes[kWireHeaderBytes] ^ 1);
                                }));
    REQUIRE(end);
    CHECK_THAT(end->line, Contains("does not know the job secret"));
    CHECK_FALSE(one.is_welcome());
  }
  SECTION("changed: the card") {
    CHECK(table.talk(id, one, at(2, flip_last_bit)));
    CHECK_THAT(log.text(), Contains("sent a message whose seal is wrong"));
  }
  SECTION("repeated: the card") {
    CHECK(table.talk(id, one, at(2, [](std::string& bytes) { bytes += bytes; })));
    CHECK_THAT(log.text(), Contains("sent a message whose seal is wrong"));
  }
  SECTION("sent back: what it said itself") {
    std::string said;
    (void)table.talk(id, one, at(2, [&](std::string& bytes) { said = bytes; }));
    REQUIRE(one.is_welcome());
    const auto end = one.receive(said);
    REQUIRE(end);
    CHECK_THAT(end->line, Contains("whose seal is wrong"));
  }
  SECTION("lost: the first card of rank 0") {
    CHECK_FALSE(table.talk(id, one, {}, at(2, [](std::string& bytes) { bytes.clear(); })));
    auto two = table.client(2);
    (void)table.talk(table.open(), two);
    const auto end = table.talk(id, one);
    REQUIRE(end);
    CHECK_THAT(end->line, Contains("whose seal is wrong"));
  }
}

TEST_CASE("wire: a secret that is right but for its end, or a byte of it, proves nothing") {
  const StderrCapture log;
  Rendezvous table;
  const std::string secret = table.all[1].secret;
  std::vector<std::string> wrong;
  for (size_t bytes = 0; bytes < secret.size(); ++bytes) {
    wrong.push_back(secret.substr(0, bytes));
    wrong.push_back(secret);
    wrong.back()[bytes] = static_cast<char>(wrong.back()[bytes] ^ 1);
  }
  wrong.push_back(secret + "x");
  // A shorter key is filled up with zeroes by HMAC itself: a secret of text has none.
  for (const std::string& other : wrong) {
    BootstrapOptions options = table.all[1];
    options.secret = other;
    TcpClient guesses(options, "here");
    guesses.publish("card");
    guesses.begin();
    const auto end = table.talk(table.open(), guesses);
    REQUIRE(end);
    CHECK_THAT(end->line, Contains("has another job secret"));
    CHECK_FALSE(guesses.is_welcome());
  }
  CHECK(table.server.missing() == std::vector<uint32_t>{1, 2});
  auto one = table.client(1);
  CHECK_FALSE(table.talk(table.open(), one));
  CHECK(one.is_welcome());
}

TEST_CASE("wire: who only repeats what a rank has said proves nothing") {
  const StderrCapture log;
  Rendezvous table;
  auto one = table.client(1);
  std::vector<std::string> said;
  (void)table.talk(table.open(), one, [&](std::string& bytes) { said.push_back(bytes); });
  REQUIRE(said.size() >= 3);
  const auto id = table.open();
  for (const std::string& bytes : said) table.server.receive(id, bytes);
  CHECK(table.server.wants_end(id));
  CHECK_THAT(log.text(), Contains("has another job secret"));
}

TEST_CASE("wire: a false rank 0 gets no more than a proof that is good for nothing") {
  Rendezvous table;
  auto one = table.client(1);
  TcpLink hears;
  hears.receive(one.to_send());
  one.sent(one.to_send().size());
  REQUIRE(hears.next());
  TcpLink says;
  says.send(WireType::challenge, std::string(kNonceBytes, 'c'));
  CHECK_FALSE(one.receive(says.to_send()));
  says.sent(says.to_send().size());
  hears.receive(one.to_send());
  const auto proof = hears.next();
  REQUIRE(proof);
  SECTION("it sends the rank's own proof back") {
    says.send(WireType::welcome, (*proof)->body);
    const auto end = one.receive(says.to_send());
    REQUIRE(end);
    CHECK_THAT(end->line, Contains("does not know the job secret"));
  }
  SECTION("it goes on without") {
    says.send(WireType::card, encode_rank_card(0, 1, "false"));
    CHECK(one.receive(says.to_send()));
  }
  SECTION("it says what only rank 0 can know") {
    says.send(WireType::refusal, encode_refusal({Refusal::number_taken, {}}));
    const auto end = one.receive(says.to_send());
    REQUIRE(end);
    CHECK_FALSE(end->lost_number);
  }
  CHECK(one.missing() == std::vector<uint32_t>{0, 2});
}

TEST_CASE("wire: strangers are let go after five seconds, whatever they have sent") {
  const StderrCapture log;
  Rendezvous table;
  const auto silent = table.open();
  const auto half = table.open();
  auto one = table.client(1);
  table.server.receive(half, one.to_send().substr(0, 30));
  const auto slow = table.open();
  table.server.receive(slow, one.to_send());  // and no proof
  CHECK(table.server.tick() == 1 + kProofWithinNs);
  table.clock.advance_ns(kProofWithinNs - 1);
  (void)table.server.tick();
  CHECK_FALSE(table.server.wants_end(silent));
  table.clock.advance_ns(1);
  (void)table.server.tick();
  for (const auto id : {silent, half, slow}) CHECK(table.server.must_close(id));
}

TEST_CASE("wire: a stranger's message is refused by its first bytes") {
  const StderrCapture log;
  Rendezvous table;
  const auto refused = [&](const std::string& bytes) {
    const auto id = table.open();
    table.server.receive(id, bytes);
    return table.server.wants_end(id);
  };
  CHECK(refused("G"));
  CHECK(refused("GET / HTTP/1.1\r\n"));
  CHECK(refused("CKVX"));
  const auto with_length = [](uint32_t bytes) {
    return ByteWriter().raw("CKVB").number(kWireVersion).number(uint16_t{1}).number(bytes).take();
  };
  CHECK_FALSE(refused("CKVB"));
  CHECK_FALSE(refused(with_length(kStrangerBodyBytesMax)));
  CHECK(refused(with_length(kStrangerBodyBytesMax + 1)));
  CHECK(refused(with_length(UINT32_MAX)));
  CHECK(refused(with_length(0)));  // a hello that says nothing
  CHECK_THAT(log.text(), Contains("announced a message of 257 B, 256 B are allowed"));
}

TEST_CASE("wire: of a crowd of strangers only so many stay, and a rank gets through") {
  const StderrCapture log;
  Rendezvous table;
  uint32_t open = 0;
  TcpServer::Id last = 0;
  for (uint32_t count = 0; count < 10'000; ++count) {
    last = table.open();
    ++open;
    if (count % 2 == 0) table.server.receive(last, "garbage");
    for (const auto id : table.server.take_touched()) {
      if (!table.server.must_close(id)) continue;
      table.server.closed(id);
      --open;
    }
    REQUIRE(open <= kStrangersMax + kRanks + 1);
  }
  auto one = table.client(1);
  CHECK_FALSE(table.talk(table.open(), one));
  CHECK(one.is_welcome());
  // The log does not fill: ten lines at once, then one a second.
  const std::string said = log.text();
  CHECK(std::count(said.begin(), said.end(), '\n') == 10);
}

TEST_CASE("wire: a rank that does not read costs no more than all cards twice and a mebibyte") {
  const StderrCapture log;
  Rendezvous table;
  auto one = table.client(1);
  const auto id = table.open();
  CHECK_FALSE(table.talk(id, one));
  size_t most = 0;
  for (int life = 0; life < 1'000 && !table.server.wants_end(id); ++life) {
    TcpClient two(table.all[2], "here");
    two.publish(std::string(60'000, 'c'));
    two.begin();
    const auto id_two = table.open();
    (void)table.talk(id_two, two);
    table.server.closed(id_two);
    most = std::max(most, table.server.to_send(id).size());
  }
  CHECK(table.server.must_close(id));
  CHECK(most < 1'500'000);
  CHECK_THAT(log.text(), Contains("does not read; its connection is closed"));
}

TEST_CASE("wire: of two who want a taken number the first waits for the owner, the second not") {
  const StderrCapture log;
  Rendezvous table;
  auto owner = table.client(1);
  const auto owner_id = table.open();
  CHECK_FALSE(table.talk(owner_id, owner));
  auto first = table.client(1);
  auto second = table.client(1);
  const auto first_id = table.open();
  CHECK_FALSE(table.talk(first_id, first));
  const auto end = table.talk(table.open(), second);
  REQUIRE(end);
  CHECK(end->lost_number);
  SECTION("the owner answers") {
    CHECK_FALSE(table.talk(owner_id, owner));
    const auto turned_away = table.talk(first_id, first);
    REQUIRE(turned_away);
    CHECK(turned_away->lost_number);
  }
  SECTION("the owner hangs up") {
    table.server.closed(owner_id);
    CHECK_FALSE(table.talk(first_id, first));
    CHECK(first.missing() == std::vector<uint32_t>{2});
  }
  SECTION("the owner says nothing") {
    table.clock.advance_ns(kPongWithinNs);
    (void)table.server.tick();
    CHECK(table.server.wants_end(owner_id));
    CHECK_FALSE(table.talk(first_id, first));
    CHECK(first.missing() == std::vector<uint32_t>{2});
    const auto superseded = owner.receive(table.server.to_send(owner_id));
    REQUIRE(superseded);
    CHECK(superseded->lost_number);
    CHECK_THAT(superseded->line, Contains("which came while this one did not answer"));
  }
}

TEST_CASE("wire: the same life of a rank may connect again, and nobody hears of it") {
  Rendezvous table(2);
  auto one = table.client(1);
  const auto before = table.open();
  CHECK_FALSE(table.talk(before, one));
  REQUIRE(one.is_complete());
  one.begin();
  CHECK_FALSE(table.talk(table.open(), one));
  CHECK(table.server.wants_end(before));
  table.server.closed(before);
  CHECK(table.server.take_changes().empty());
  CHECK(one.take_changes().empty());
}

TEST_CASE("wire: a rank that goes before all are there is missing again") {
  Rendezvous table;
  auto one = table.client(1);
  auto two = table.client(2);
  const auto id_one = table.open();
  const auto id_two = table.open();
  CHECK_FALSE(table.talk(id_one, one));
  table.server.closed(id_one);
  CHECK(table.server.missing() == std::vector<uint32_t>{1, 2});
  CHECK_FALSE(table.talk(id_two, two));
  CHECK_FALSE(two.is_complete());
  CHECK(two.missing() == std::vector<uint32_t>{1});
}

}  // namespace
}  // namespace copykv::test
