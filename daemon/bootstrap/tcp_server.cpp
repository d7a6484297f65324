// SPDX-License-Identifier: Apache-2.0
#include "daemon/bootstrap/tcp_server.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "daemon/bootstrap/bytes.hpp"

namespace copykv::bootstrap {
namespace {

constexpr uint64_t kCloseWithinNs = kNanosPerSecond;
constexpr size_t kUnreadBytesMin = size_t{1} << 20;
constexpr size_t kMessageBytes = kWireHeaderBytes + kSealBytes + 16;

}  // namespace

TcpServer::TcpServer(const BootstrapOptions& options, const Clock& clock)
    : options_(options),
      clock_(clock),
      incarnation_(random_incarnation()),
      seats_(options.ranks),
      log_limit_(clock) {}

void TcpServer::publish(const std::string& card) {
  seats_[0].incarnation = incarnation_;
  seats_[0].card = card;
  cards_bytes_ = card.size() + kMessageBytes;
  check_complete();
}

TcpServer::Id TcpServer::open(std::string from) {
  if (strangers_ >= kStrangersMax + options_.ranks) shed();
  Connection& made = connections_[++last_id_];
  made.from = std::move(from);
  made.due_ns = clock_.now_ns() + kProofWithinNs;
  ++strangers_;
  return last_id_;
}

void TcpServer::shed() {
  for (auto& [id, connection] : connections_) {
    if (connection.proved || connection.due_ns == 0) continue;
    close(id, connection);
    connection.due_ns = 0;
    touched_.push_back(id);  // it may have been closing already
    return;
  }
}

void TcpServer::receive(Id id, std::string_view bytes) {
  const auto found = connections_.find(id);
  if (found == connections_.end() || found->second.stage == Stage::closing) return;
  Connection& connection = found->second;
  connection.link.receive(bytes);
  while (connection.stage != Stage::closing) {
    auto message = connection.link.next();
    if (!message) {
      const bool other_version = connection.link.peer_version() != kWireVersion;
      return refuse(id, connection, {other_version ? Refusal::version : Refusal::bad_message, {}},
                    message.error);
    }
    if (!message->has_value()) return;
    on_message(id, connection, **message);
  }
}

void TcpServer::on_message(Id id, Connection& connection, const WireMessage& message) {
  if (connection.stage == Stage::hello && message.type == WireType::hello) {
    on_hello(id, connection, message);
  } else if (connection.stage == Stage::proof && message.type == WireType::proof) {
    on_proof(id, connection, message);
  } else if (connection.stage == Stage::card && message.type == WireType::card) {
    on_card(id, connection, message);
  } else if (connection.stage == Stage::seated && message.type == WireType::pong) {
    on_pong(id, connection);
  } else {
    refuse(id, connection, {Refusal::bad_message, {}}, "sent a message out of turn");
  }
}

void TcpServer::on_hello(Id id, Connection& connection, const WireMessage& message) {
  auto hello = decode_hello(message.body);
  if (!hello) return refuse(id, connection, {Refusal::bad_message, {}}, "sent a damaged hello");
  connection.hello = std::move(*hello);
  if (connection.hello.job != options_.job) {
    return refuse(id, connection, {Refusal::other_job, {}},
                  fmt::format("belongs to job '{}', this is job '{}'; give each job a port of its "
                              "own",
                              connection.hello.job, options_.job));
  }
  const std::string challenge = random_bytes(kNonceBytes);
  connection.proofs = make_proofs(options_.secret, message.body, challenge);
  connection.stage = Stage::proof;
  send(id, connection, WireType::challenge, challenge);
}

void TcpServer::on_proof(Id id, Connection& connection, const WireMessage& message) {
  if (!same_proof(message.body, connection.proofs.client)) {
    return refuse(id, connection, {Refusal::wrong_secret, {}},
                  "has another job secret; give all ranks the same one");
  }
  send(id, connection, WireType::welcome, connection.proofs.server);
  connection.link.seal_sent(connection.proofs.to_client);
  connection.link.seal_received(connection.proofs.to_server);
  connection.stage = Stage::card;
  connection.proved = true;
  --strangers_;
  const Hello& hello = connection.hello;
  if (hello.ranks != options_.ranks || hello.rank >= options_.ranks) {
    return refuse(id, connection, {Refusal::other_size, {options_.ranks}},
                  fmt::format("was started with --ranks {}, this one with --ranks {}; start all of "
                              "them with the same number",
                              hello.ranks, options_.ranks));
  }
}

void TcpServer::on_card(Id id, Connection& connection, const WireMessage& message) {
  if (message.body.size() > kCardBytesMax) {
    return refuse(id, connection, {Refusal::bad_message, {}}, "sent a card that is too long");
  }
  connection.card = message.body;
  const Hello& hello = connection.hello;
  Seat& seat_of = seats_[hello.rank];
  const bool has_rival =
      hello.rank == 0 || (seat_of.owner != 0 && seat_of.incarnation != hello.incarnation);
  if (!has_rival) return seat(id, connection);
  if (seat_of.contender != 0 &&
      connections_[seat_of.contender].hello.incarnation == hello.incarnation) {
    close(seat_of.contender, connections_[seat_of.contender]);  // it has connected again
  }
  if (hello.rank == 0 || seat_of.contender != 0) {
    return refuse(id, connection, {Refusal::number_taken, {}},
                  "has the number of another living process; give each rank its own --rank");
  }
  seat_of.contender = id;
  connection.stage = Stage::contending;
  connection.due_ns = clock_.now_ns() + kPongWithinNs;
  send(seat_of.owner, connections_[seat_of.owner], WireType::ping, {});
}

void TcpServer::on_pong(Id id, const Connection& connection) {
  Seat& seat_of = seats_[connection.hello.rank];
  if (seat_of.owner != id || seat_of.contender == 0) return;
  const Id contender = std::exchange(seat_of.contender, 0);
  refuse(contender, connections_[contender], {Refusal::number_taken, {}},
         "has the number of another living process; give each rank its own --rank");
}

void TcpServer::seat(Id id, Connection& connection) {
  const Hello& hello = connection.hello;
  Seat& seat_of = seats_[hello.rank];
  if (const Id before = std::exchange(seat_of.owner, id); before != 0) {
    close(before, connections_[before]);  // the same life of the rank, connected again
  }
  connection.stage = Stage::seated;
  if (seat_of.incarnation != hello.incarnation) {
    cards_bytes_ -= seat_of.incarnation == 0 ? 0 : seat_of.card.size() + kMessageBytes;
    cards_bytes_ += connection.card.size() + kMessageBytes;
    seat_of.incarnation = hello.incarnation;
    seat_of.card = std::exchange(connection.card, {});
    send_all_but(hello.rank, WireType::card,
                 encode_rank_card(hello.rank, seat_of.incarnation, seat_of.card));
    if (complete_) changes_.push_back({hello.rank, seat_of.card});
  }
  for (uint32_t rank = 0; rank < seats_.size(); ++rank) {
    if (rank == hello.rank || seats_[rank].incarnation == 0) continue;
    send(id, connection, WireType::card,
         encode_rank_card(rank, seats_[rank].incarnation, seats_[rank].card));
  }
  if (complete_) send(id, connection, WireType::complete, {});
  check_complete();
}

void TcpServer::check_complete() {
  if (complete_ || !missing().empty()) return;
  complete_ = true;
  send_all_but(0, WireType::complete, {});
}

void TcpServer::send(Id id, Connection& connection, WireType type, std::string_view body) {
  if (connection.stage == Stage::closing) return;
  connection.link.send(type, body);
  touched_.push_back(id);
  if (connection.link.to_send().size() <= kUnreadBytesMin + 2 * cards_bytes_) return;
  log_limit_.warn(fmt::format("{} does not read; its connection is closed", connection.from));
  close(id, connection);
  connection.due_ns = 0;
}

void TcpServer::send_all_but(uint32_t rank, WireType type, std::string_view body) {
  for (uint32_t other = 0; other < seats_.size(); ++other) {
    const Id owner = seats_[other].owner;
    if (other != rank && owner != 0) send(owner, connections_[owner], type, body);
  }
}

void TcpServer::refuse(Id id, Connection& connection, const RefusalNote& note,
                       const std::string& why) {
  const bool said_hello = !connection.hello.job.empty();
  log_limit_.warn(said_hello
                      ? fmt::format("rank {} at {} {}", connection.hello.rank, connection.from, why)
                      : fmt::format("{} {}", connection.from, why));
  send(id, connection, WireType::refusal, encode_refusal(note));
  close(id, connection);
}

void TcpServer::close(Id id, Connection& connection) {
  if (connection.stage == Stage::closing) return;
  connection.stage = Stage::closing;
  connection.due_ns = clock_.now_ns() + kCloseWithinNs;
  touched_.push_back(id);
  release(id, connection);
}

/// Its seat, if it had one, is free from now on.
void TcpServer::release(Id id, const Connection& connection) {
  if (connection.hello.rank >= seats_.size()) return;
  Seat& seat_of = seats_[connection.hello.rank];
  if (seat_of.contender == id) seat_of.contender = 0;
  if (seat_of.owner != id) return;
  seat_of.owner = 0;
  if (!complete_) {
    cards_bytes_ -= seat_of.card.size() + kMessageBytes;
    seat_of.incarnation = 0;
    seat_of.card.clear();
    send_all_but(connection.hello.rank, WireType::gone,
                 ByteWriter().number(connection.hello.rank).bytes());
  }
  const Id contender = std::exchange(seat_of.contender, 0);
  if (contender != 0) seat(contender, connections_[contender]);
}

void TcpServer::closed(Id id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  close(id, found->second);
  if (!found->second.proved) --strangers_;
  connections_.erase(found);
}

uint64_t TcpServer::tick() {
  const uint64_t now_ns = clock_.now_ns();
  uint64_t next_ns = UINT64_MAX;
  std::vector<Id> due;
  for (auto& [id, connection] : connections_) {
    if (connection.stage == Stage::seated) continue;
    if (connection.due_ns <= now_ns) {
      due.push_back(id);
    } else {
      next_ns = std::min(next_ns, connection.due_ns);
    }
  }
  for (const Id id : due) {
    Connection& connection = connections_[id];
    if (connection.stage == Stage::contending) {
      const Id owner = seats_[connection.hello.rank].owner;
      refuse(owner, connections_[owner], {Refusal::superseded, {}},
             "does not answer, and another process has its number: that one is the rank now");
    } else if (connection.stage != Stage::seated) {
      close(id, connection);
      connection.due_ns = 0;  // whoever has not read by now will not
      touched_.push_back(id);
    }
  }
  return next_ns;
}

std::string_view TcpServer::to_send(Id id) const {
  const auto found = connections_.find(id);
  return found == connections_.end() ? std::string_view() : found->second.link.to_send();
}

void TcpServer::sent(Id id, size_t bytes) {
  connections_.at(id).link.sent(bytes);
}

std::vector<TcpServer::Id> TcpServer::take_touched() {
  std::vector<Id> touched = std::exchange(touched_, {});
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  return touched;
}

bool TcpServer::wants_end(Id id) const {
  const auto found = connections_.find(id);
  return found != connections_.end() && found->second.stage == Stage::closing;
}

bool TcpServer::must_close(Id id) const {
  return wants_end(id) && connections_.at(id).due_ns == 0;
}

std::vector<uint32_t> TcpServer::missing() const {
  std::vector<uint32_t> ranks;
  for (uint32_t rank = 0; rank < seats_.size(); ++rank) {
    if (seats_[rank].incarnation == 0) ranks.push_back(rank);
  }
  return ranks;
}

bool TcpServer::has_unsent() const {
  return std::any_of(connections_.begin(), connections_.end(),
                     [](const auto& entry) { return !entry.second.link.to_send().empty(); });
}

void TcpServer::give_up() {
  const RefusalNote note{Refusal::missing, missing()};
  for (auto& [id, connection] : connections_) {
    if (connection.stage != Stage::seated) continue;
    send(id, connection, WireType::refusal, encode_refusal(note));
    connection.stage = Stage::closing;
    connection.due_ns = clock_.now_ns() + kCloseWithinNs;
  }
}

std::vector<std::string> TcpServer::cards() const {
  std::vector<std::string> cards;
  for (const Seat& seat_of : seats_) cards.push_back(seat_of.card);
  return cards;
}

std::vector<Bootstrap::Change> TcpServer::take_changes() {
  return std::exchange(changes_, {});
}

}  // namespace copykv::bootstrap
