// SPDX-License-Identifier: Apache-2.0
#include <numeric>
#include <utility>

#include "copyrpc/wire.hpp"
#include "daemon/bootstrap/card_file.hpp"
#include "daemon/bootstrap/tcp_link.hpp"
#include "tests/unit/copyrpc/protocol_example.hpp"

namespace copykv::test {
namespace {

using namespace bootstrap;

constexpr std::string_view kSecret = "0123456789abcdef";
constexpr std::string_view kCard = "what rank 1 says of itself";
constexpr uint64_t kIncarnation = 0x1111'1111'1111'1111;

/// Bytes that count up from `first`.
[[nodiscard]] std::string counting(char first) {
  std::string bytes(kNonceBytes, '\0');
  std::iota(bytes.begin(), bytes.end(), first);
  return bytes;
}

/// What this end of a connection has said since the last time.
[[nodiscard]] Bytes said(TcpLink& link) {
  const Bytes bytes = bytes_of(link.to_send());
  link.sent(bytes.size());
  return bytes;
}

template <class Enum>
[[nodiscard]] std::vector<Cells> rows(std::initializer_list<std::pair<Enum, const char*>> values) {
  std::vector<Cells> rows;
  for (const auto& [value, name] : values) {
    rows.push_back({std::to_string(static_cast<uint32_t>(value)), name});
  }
  return rows;
}

}  // namespace

void show_rendezvous(Examples& examples) {
  TcpLink rank_1;
  TcpLink rank_0;
  const std::string hello = encode_hello(
      {.rank = 1, .ranks = 2, .incarnation = kIncarnation, .nonce = counting(0x20), .job = "demo"});
  const std::string challenge = counting(0x40);
  const Proofs proofs = make_proofs(kSecret, hello, challenge);
  rank_1.send(WireType::hello, hello);
  examples["rendezvous-hello"] = said(rank_1);
  rank_0.send(WireType::challenge, challenge);
  examples["rendezvous-challenge"] = said(rank_0);
  rank_1.send(WireType::proof, proofs.client);
  examples["rendezvous-proof"] = said(rank_1);
  rank_0.send(WireType::welcome, proofs.server);
  examples["rendezvous-welcome"] = said(rank_0);
  rank_1.seal_sent(proofs.to_server);
  rank_0.seal_sent(proofs.to_client);
  rank_1.send(WireType::card, kCard);
  examples["rendezvous-card"] = said(rank_1);
  rank_0.send(WireType::card, encode_rank_card(0, 1, "what rank 0 says of itself"));
  examples["rendezvous-rank-card"] = said(rank_0);
  rank_0.send(WireType::refusal,
              encode_refusal({.reason = bootstrap::Refusal::missing, .numbers = {2, 3}}));
  examples["rendezvous-refusal"] = said(rank_0);

  examples["card-file"] = bytes_of(encode_card_file(
      {.head = {.incarnation = kIncarnation, .revision = 2, .phase = CardPhase::present},
       .rank = 1,
       .ranks = 2,
       .job = "demo",
       .card = std::string(kCard),
       .heard = {1}}));
}

std::map<std::string, std::vector<Cells>> wire_values() {
  using copyrpc::MessageKind;
  using copyrpc::Told;
  using Why = bootstrap::Refusal;
  return {
      {"Told", rows<Told>({{Told::hello, "hello"}, {Told::batch, "batch"}})},
      {"MessageKind",
       rows<MessageKind>({{MessageKind::call, "call"}, {MessageKind::answer, "answer"}})},
      {"WireType", rows<WireType>({{WireType::hello, "hello"},
                                   {WireType::challenge, "challenge"},
                                   {WireType::proof, "proof"},
                                   {WireType::welcome, "welcome"},
                                   {WireType::card, "card"},
                                   {WireType::gone, "gone"},
                                   {WireType::complete, "complete"},
                                   {WireType::ping, "ping"},
                                   {WireType::pong, "pong"},
                                   {WireType::refusal, "refusal"}})},
      {"RendezvousRefusal", rows<Why>({{Why::version, "version"},
                                       {Why::other_job, "other_job"},
                                       {Why::wrong_secret, "wrong_secret"},
                                       {Why::other_size, "other_size"},
                                       {Why::number_taken, "number_taken"},
                                       {Why::superseded, "superseded"},
                                       {Why::missing, "missing"},
                                       {Why::bad_message, "bad_message"}})},
      {"CardPhase", rows<CardPhase>({{CardPhase::claiming, "claiming"},
                                     {CardPhase::present, "present"},
                                     {CardPhase::left, "left"}})},
  };
}

}  // namespace copykv::test
