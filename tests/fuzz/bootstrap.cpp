// SPDX-License-Identifier: Apache-2.0
// The rendezvous: what strangers and false ranks send to rank 0, what a false rank 0 sends to a
// rank, and what stands in the files of a shared directory. No bytes may crash a side, cost it
// more than its limits, or get a stranger a seat.
#include <vector>

#include "base/clock.hpp"
#include "base/hash.hpp"
#include "base/log.hpp"
#include "daemon/bootstrap/bytes.hpp"
#include "daemon/bootstrap/card_file.hpp"
#include "daemon/bootstrap/tcp_client.hpp"
#include "daemon/bootstrap/tcp_server.hpp"
#include "tests/fuzz/input.hpp"

namespace {

using namespace copykv;
using namespace copykv::bootstrap;
using fuzz::require;

constexpr uint32_t kRanks = 4;
constexpr uint32_t kGuestsMax = 8;
constexpr const char* kSecret = "the secret of the job";

BootstrapOptions options_of(uint32_t rank, const char* secret) {
  return {"tcp://127.0.0.1:7", "job", rank, kRanks, secret, 1'000};
}

/// Rank 0 and everybody who talks to it. Some know the secret: what they say then is sealed.
class Table {
 public:
  Table() : server_(options_of(0, kSecret), clock_) {
    guests_.reserve(kGuestsMax);
    server_.publish("card of rank 0");
  }

  void play(fuzz::Input& input) {
    for (uint32_t step = 0; step < 64 && !input.empty(); ++step) {
      const uint32_t what = input.below(8);
      if (guests_.empty() || what == 0) {
        sit_down(input);
      } else if (what == 1) {
        const uint32_t seconds = input.below(5);
        seconds == 4 ? server_.shed() : clock_.advance_ns(seconds * kNanosPerSecond);
      } else {
        talk(guests_[input.below(static_cast<uint32_t>(guests_.size()))], what, input);
      }
      (void)server_.tick();
      deliver();
    }
    server_.give_up();
    deliver();
    if (!insiders_) require(server_.missing().size() == kRanks - 1, "a stranger has no seat");
    for (const Bootstrap::Change& change : server_.take_changes()) {
      require(change.rank > 0 && change.rank < kRanks, "a change is of another rank");
    }
  }

 private:
  struct Guest {
    TcpServer::Id id = 0;
    TcpClient client;
    TcpLink link{};  ///< after a handshake by hand: sealed, and says anything
    bool by_hand = false;
  };

  void sit_down(fuzz::Input& input) {
    if (guests_.size() == kGuestsMax) return;
    const uint32_t kind = input.below(4);
    const uint32_t rank = input.below(kRanks + 1);
    const bool knows = kind != 0;
    insiders_ = insiders_ || knows;
    guests_.push_back({server_.open("127.0.0.1:1"),
                       TcpClient(options_of(rank % kRanks, knows ? kSecret : "another"), "here")});
    Guest& guest = guests_.back();
    guest.client.publish("card");
    if (kind == 3) return shake_hands(guest, rank, input.below(4) == 0 ? kRanks + 1 : kRanks);
    if (kind != 2) guest.client.begin();  // else whatever it sends comes first
  }

  /// Up to the seal; from there on `link` may say what it likes.
  void shake_hands(Guest& guest, uint32_t rank, uint32_t ranks) {
    const std::string hello =
        encode_hello({rank, ranks, 1 + rank, std::string(kNonceBytes, 'n'), "job"});
    guest.link.send(WireType::hello, hello);
    pass(guest);
    TcpLink answers;
    answers.receive(server_.to_send(guest.id));
    const auto challenge = answers.next();
    if (!challenge || !challenge->has_value()) return;
    const Proofs proofs = make_proofs(kSecret, hello, (*challenge)->body);
    guest.link.send(WireType::proof, proofs.client);
    guest.link.seal_sent(proofs.to_server);
    guest.by_hand = true;
    pass(guest);
  }

  void talk(Guest& guest, uint32_t what, fuzz::Input& input) {
    if (what == 2) return server_.closed(guest.id);
    const std::string body = input.text(input.below(96));
    if (guest.by_hand && what < 6) {
      guest.link.send(static_cast<WireType>(input.below(12)), body);
      return pass(guest);
    }
    if (what == 7) return server_.receive(guest.id, body);
    const std::string said(guest.client.to_send());
    guest.client.sent(said.size());
    server_.receive(guest.id, said);
  }

  void pass(Guest& guest) {
    const std::string bytes(guest.link.to_send());
    guest.link.sent(bytes.size());
    server_.receive(guest.id, bytes);
  }

  void deliver() {
    for (const TcpServer::Id id : server_.take_touched()) {
      const std::string bytes(server_.to_send(id));
      if (!bytes.empty()) server_.sent(id, bytes.size());
      for (Guest& guest : guests_) {
        if (guest.id == id && !guest.by_hand) (void)guest.client.receive(bytes);
      }
      if (server_.wants_end(id)) server_.closed(id);
    }
  }

  ManualClock clock_{1};
  TcpServer server_;
  std::vector<Guest> guests_{};
  bool insiders_ = false;
};

/// A rank, and a rank 0 that says anything; with the secret (sealed) or without.
void false_rank_0(fuzz::Input& input) {
  TcpClient client(options_of(1, kSecret), "here");
  client.publish("card of rank 1");
  client.begin();
  const bool knows = input.below(2) == 1;
  TcpLink link;
  if (knows) {
    TcpLink hears;
    hears.receive(client.to_send());
    const std::string hello = (*hears.next())->body;
    const std::string challenge(kNonceBytes, 'c');
    link.send(WireType::challenge, challenge);
    const Proofs proofs = make_proofs(kSecret, hello, challenge);
    link.send(WireType::welcome, proofs.server);
    link.seal_sent(proofs.to_client);
  }
  for (uint32_t step = 0; step < 64 && !input.empty(); ++step) {
    std::string bytes;
    const uint32_t what = input.below(4);
    if (what == 0) {
      bytes = input.text(input.below(96));
    } else if (what == 1) {
      link.send(WireType::card, encode_rank_card(input.below(kRanks + 1), input.below(3),
                                                 input.text(input.below(16))));
    } else {
      link.send(static_cast<WireType>(input.below(12)), input.text(input.below(96)));
    }
    bytes += link.to_send();
    link.sent(link.to_send().size());
    const auto end = client.receive(bytes);
    if (end)
      require(!end->line.empty() && end->line.find(kSecret) == std::string::npos,
              "an end has a reason that does not tell the secret");
    if (end) return;
    require(knows || !client.is_welcome(), "only who knows the secret is believed");
    require(!client.is_complete() || client.missing().empty(), "complete is complete");
    for (const Bootstrap::Change& change : client.take_changes()) {
      require(change.rank != 1 && change.rank < kRanks, "a change is of another rank");
    }
  }
}

void card_file(std::span<const uint8_t> bytes, bool honest_sum) {
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (honest_sum) {  // past the sum, into the fields
    const std::string start = "ckvcard\n" + ByteWriter().number(uint32_t{1}).bytes();
    text.replace(0, std::min(start.size(), text.size()), start);
    text += ByteWriter().number(XXH3_64bits(text.data(), text.size())).bytes();
  }
  const auto file = decode_card_file(text);
  if (!file) return require(!file.error.empty(), "a refusal has a reason");
  require(file->rank < file->ranks, "an accepted card is of a rank that can be");
  require(encode_card_file(*file) == text, "an accepted card has one spelling");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  set_log_level(LogLevel::error);  // it would say a line for each refusal
  fuzz::Input input(data, bytes);
  switch (const uint32_t which = input.take<uint8_t>() % 6; which) {
    case 0:
    case 1:
      card_file(input.rest(), which == 1);
      break;
    case 2:
      false_rank_0(input);
      break;
    default:
      Table().play(input);
  }
  return 0;
}
