// SPDX-License-Identifier: Apache-2.0
#include "daemon/bootstrap/tcp_link.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/assert.hpp"
#include "base/runtime_paths.hpp"
#include "daemon/bootstrap/bytes.hpp"

namespace copykv::bootstrap {
namespace {

constexpr uint32_t kMagic = 0x42564b43;  // "CKVB"
constexpr uint32_t kRefusalNumbersMax = 4096;
constexpr size_t kCompactBeyondBytes = 64 * 1024;

std::string hmac(std::string_view key, std::string_view text) {
  std::string made(kSealBytes, '\0');
  unsigned int bytes = 0;
  const auto* done = ::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()),
                            reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                            reinterpret_cast<unsigned char*>(made.data()), &bytes);
  COPYKV_ASSERT(done != nullptr && bytes == kSealBytes, "HMAC-SHA256 made {} bytes", bytes);
  return made;
}

std::string seal(std::string_view key, uint64_t number, std::string_view message) {
  return hmac(key, ByteWriter().number(number).raw(message).bytes());
}

}  // namespace

Failure TcpLink::fail(std::string why) {
  failed_ = std::move(why);
  in_.clear();
  return Failure{failed_};
}

Outcome<std::optional<WireMessage>> TcpLink::next() {
  if (!failed_.empty()) return Failure{failed_};
  ByteReader header(in_);
  const auto magic = header.number<uint32_t>();
  const auto version = header.number<uint16_t>();
  const auto type = header.number<uint16_t>();
  const auto body_bytes = header.number<uint32_t>();
  // As soon as it cannot become a message, whatever else comes.
  const std::string_view start = std::string_view(in_).substr(0, sizeof(kMagic));
  if (start != ByteWriter().number(kMagic).bytes().substr(0, start.size())) {
    return fail("sent bytes that are no message of copykv");
  }
  if (!header.whole()) return std::optional<WireMessage>();
  COPYKV_ASSERT(magic == kMagic, "magic={}", magic);
  if (version != kWireVersion) {
    peer_version_ = version;
    return fail(
        fmt::format("speaks version {} of the rendezvous, not {}; start the "
                    "same release everywhere",
                    version, kWireVersion));
  }
  if (body_bytes > body_bytes_max_) {
    return fail(
        fmt::format("announced a message of {} B, {} B are allowed", body_bytes, body_bytes_max_));
  }
  const size_t plain_bytes = kWireHeaderBytes + body_bytes;
  const size_t whole_bytes = plain_bytes + (receive_key_.empty() ? 0 : kSealBytes);
  if (in_.size() < whole_bytes) return std::optional<WireMessage>();
  const std::string_view message = std::string_view(in_).substr(0, plain_bytes);
  if (!receive_key_.empty() && !same_proof(seal(receive_key_, received_count_++, message),
                                           std::string_view(in_).substr(plain_bytes, kSealBytes))) {
    return fail("sent a message whose seal is wrong");
  }
  WireMessage made{static_cast<WireType>(type), std::string(message.substr(kWireHeaderBytes))};
  in_.erase(0, whole_bytes);
  return std::optional<WireMessage>(std::move(made));
}

void TcpLink::send(WireType type, std::string_view body) {
  ByteWriter message;
  message.number(kMagic).number(kWireVersion).number(static_cast<uint16_t>(type));
  message.text(body);
  out_ += message.bytes();
  if (!send_key_.empty()) out_ += seal(send_key_, sent_count_++, message.bytes());
}

void TcpLink::sent(size_t bytes) noexcept {
  sent_ += bytes;
  if (sent_ < out_.size() && sent_ < kCompactBeyondBytes) return;
  out_.erase(0, sent_);
  sent_ = 0;
}

std::string encode_hello(const Hello& hello) {
  return ByteWriter()
      .number(hello.rank)
      .number(hello.ranks)
      .number(hello.incarnation)
      .raw(hello.nonce)
      .text(hello.job)
      .take();
}

std::optional<Hello> decode_hello(std::string_view body) {
  ByteReader from(body);
  Hello hello;
  hello.rank = from.number<uint32_t>();
  hello.ranks = from.number<uint32_t>();
  hello.incarnation = from.number<uint64_t>();
  hello.nonce = from.raw(kNonceBytes);
  hello.job = from.text(kJobNameBytesMax);
  if (!from.done() || hello.incarnation == 0 || !check_job_name(hello.job)) return std::nullopt;
  return hello;
}

std::string encode_rank_card(uint32_t rank, uint64_t incarnation, std::string_view card) {
  return ByteWriter().number(rank).number(incarnation).text(card).take();
}

std::optional<RankCard> decode_rank_card(std::string_view body) {
  ByteReader from(body);
  RankCard card;
  card.rank = from.number<uint32_t>();
  card.incarnation = from.number<uint64_t>();
  card.card = from.text(kCardBytesMax);
  if (!from.done() || card.incarnation == 0) return std::nullopt;
  return card;
}

std::string encode_refusal(const RefusalNote& note) {
  ByteWriter to;
  const size_t count = std::min<size_t>(note.numbers.size(), kRefusalNumbersMax);
  to.number(static_cast<uint32_t>(note.reason)).number(static_cast<uint32_t>(count));
  for (size_t index = 0; index < count; ++index) to.number(note.numbers[index]);
  return to.take();
}

std::optional<RefusalNote> decode_refusal(std::string_view body) {
  ByteReader from(body);
  RefusalNote note;
  note.reason = static_cast<Refusal>(from.number<uint32_t>());
  const auto count = from.number<uint32_t>();
  if (count > kRefusalNumbersMax || from.left() != count * sizeof(uint32_t)) return std::nullopt;
  for (uint32_t index = 0; index < count; ++index) note.numbers.push_back(from.number<uint32_t>());
  return note;
}

Proofs make_proofs(std::string_view secret, std::string_view hello_body,
                   std::string_view challenge_body) {
  const auto prove = [&](std::string_view label) {
    ByteWriter said;
    said.text(label).text(hello_body).text(challenge_body);
    return hmac(secret, said.bytes());
  };
  return {prove("copykv client"), prove("copykv rank 0"), prove("copykv key to rank 0"),
          prove("copykv key from rank 0")};
}

bool same_proof(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace copykv::bootstrap
