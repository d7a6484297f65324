// SPDX-License-Identifier: Apache-2.0
#include "daemon/bootstrap/tcp_client.hpp"

#include <fmt/format.h>

#include <utility>

#include "daemon/bootstrap/bytes.hpp"
#include "daemon/bootstrap/rank_list.hpp"

namespace copykv::bootstrap {

TcpClient::TcpClient(const BootstrapOptions& options, std::string where)
    : options_(options),
      where_(std::move(where)),
      incarnation_(random_incarnation()),
      seats_(options.ranks) {}

void TcpClient::publish(const std::string& card) {
  seats_[options_.rank] = {options_.rank, incarnation_, card};
}

void TcpClient::begin() {
  if (!complete_) {  // rank 0 may be another one: it says afresh who is there
    for (uint32_t rank = 0; rank < seats_.size(); ++rank) {
      if (rank != options_.rank) seats_[rank] = {};
    }
  }
  link_ = TcpLink();
  stage_ = Stage::hello;
  hello_body_ = encode_hello(
      {options_.rank, options_.ranks, incarnation_, random_bytes(kNonceBytes), options_.job});
  link_.send(WireType::hello, hello_body_);
}

std::optional<LinkEnd> TcpClient::receive(std::string_view bytes) {
  link_.receive(bytes);
  while (true) {
    auto message = link_.next();
    if (!message && link_.peer_version() != kWireVersion) {
      return LinkEnd{fmt::format("rank 0 at {} speaks version {} of the rendezvous, this copykvd "
                                 "version {}; start the same release everywhere",
                                 where_, link_.peer_version(), kWireVersion),
                     true};
    }
    if (!message) {
      return LinkEnd{fmt::format("whoever listens at {} {}; is that the host and port of rank 0?",
                                 where_, message.error),
                     true};
    }
    if (!message->has_value()) return std::nullopt;
    if (auto end = on_message(**message)) return end;
  }
}

std::optional<LinkEnd> TcpClient::on_message(const WireMessage& message) {
  const bool welcome = stage_ == Stage::welcome;
  if (message.type == WireType::refusal) return on_refusal(message);
  if (stage_ == Stage::hello && message.type == WireType::challenge) return on_challenge(message);
  if (stage_ == Stage::proof && message.type == WireType::welcome) return on_welcome(message);
  if (welcome && message.type == WireType::card) return on_card(message);
  if (welcome && message.type == WireType::gone) return on_gone(message);
  if (welcome && message.type == WireType::complete) return on_complete();
  if (!welcome || message.type != WireType::ping) return out_of_turn();
  link_.send(WireType::pong, {});
  return std::nullopt;
}

std::optional<LinkEnd> TcpClient::on_challenge(const WireMessage& message) {
  if (message.body.size() != kNonceBytes) return out_of_turn();
  proofs_ = make_proofs(options_.secret, hello_body_, message.body);
  link_.send(WireType::proof, proofs_.client);
  stage_ = Stage::proof;
  return std::nullopt;
}

std::optional<LinkEnd> TcpClient::on_welcome(const WireMessage& message) {
  if (!same_proof(message.body, proofs_.server)) {
    return LinkEnd{fmt::format("whoever listens at {} does not know the job secret; is that the "
                               "host and port of rank 0?",
                               where_),
                   true};
  }
  link_.seal_sent(proofs_.to_server);
  link_.seal_received(proofs_.to_client);
  stage_ = Stage::welcome;
  link_.send(WireType::card, seats_[options_.rank].card);
  return std::nullopt;
}

std::optional<LinkEnd> TcpClient::on_card(const WireMessage& message) {
  auto card = decode_rank_card(message.body);
  if (!card || card->rank >= options_.ranks || card->rank == options_.rank) return out_of_turn();
  RankCard& seat = seats_[card->rank];
  if (seat.incarnation == card->incarnation) return std::nullopt;
  seat = std::move(*card);
  if (complete_) changes_.push_back({seat.rank, seat.card});
  return std::nullopt;
}

std::optional<LinkEnd> TcpClient::on_gone(const WireMessage& message) {
  ByteReader from(message.body);
  const auto rank = from.number<uint32_t>();
  if (!from.done() || rank >= options_.ranks || rank == options_.rank) return out_of_turn();
  if (!complete_) seats_[rank] = {};
  return std::nullopt;
}

std::optional<LinkEnd> TcpClient::on_complete() {
  if (!missing().empty()) return out_of_turn();
  complete_ = true;
  return std::nullopt;
}

LinkEnd TcpClient::on_refusal(const WireMessage& message) const {
  const auto note = decode_refusal(message.body);
  if (!note) return out_of_turn();
  const bool welcome = stage_ == Stage::welcome;
  const std::string rendezvous = fmt::format("--rendezvous tcp://{}", where_);
  switch (note->reason) {
    case Refusal::other_job:
      return {fmt::format("{} serves another job than '{}'; give all ranks the same --job, or each "
                          "job a port of its own",
                          rendezvous, options_.job),
              true};
    case Refusal::wrong_secret:
      return {fmt::format("{} has another job secret than this rank; give all ranks the same "
                          "COPYKV_JOB_SECRET or --job-secret-file",
                          rendezvous),
              true};
    case Refusal::other_size:
      if (!welcome || note->numbers.size() != 1) return out_of_turn();
      return {fmt::format("rank 0 was started with --ranks {}, this one with --ranks {}; start all "
                          "of them with the same number",
                          note->numbers[0], options_.ranks),
              true};
    case Refusal::number_taken:
    case Refusal::superseded:
      if (!welcome) return out_of_turn();
      return {fmt::format(
                  "rank {} of job '{}' is another living process{}; give each rank a --rank "
                  "of its own, or another --job",
                  options_.rank, options_.job,
                  note->reason == Refusal::superseded ? ", which came while this one did not answer"
                                                      : " as well"),
              true, true};
    case Refusal::missing:
      if (!welcome || note->numbers.empty()) return out_of_turn();
      return {
          fmt::format("{} missing at {} when the time of rank 0 was over; start every rank with "
                      "the same --job, --ranks and --rendezvous",
                      ranks_are(note->numbers, options_.ranks), rendezvous),
          true};
    case Refusal::version:
    case Refusal::bad_message:
      break;
  }
  return {
      fmt::format("{} did not understand this rank; start the same release everywhere", rendezvous),
      true};
}

LinkEnd TcpClient::out_of_turn() const {
  return {fmt::format("whoever listens at {} sent a message that does not belong here; start the "
                      "same release everywhere",
                      where_),
          true};
}

std::vector<uint32_t> TcpClient::missing() const {
  std::vector<uint32_t> ranks;
  for (uint32_t rank = 0; rank < seats_.size(); ++rank) {
    if (seats_[rank].incarnation == 0) ranks.push_back(rank);
  }
  return ranks;
}

std::vector<std::string> TcpClient::cards() const {
  std::vector<std::string> cards;
  for (const RankCard& seat : seats_) cards.push_back(seat.card);
  return cards;
}

std::vector<Bootstrap::Change> TcpClient::take_changes() {
  return std::exchange(changes_, {});
}

}  // namespace copykv::bootstrap
