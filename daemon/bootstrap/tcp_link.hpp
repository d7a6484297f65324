// SPDX-License-Identifier: Apache-2.0
// One end of a connection between a rank and rank 0, without the socket: bytes in, messages out,
// and back. What a stranger sends can cost no more than the buffer of one message.
//
// MESSAGE (little-endian)
//    0  magic "CKVB"     4   this header is the same in every version
//    4  version          2
//    6  type             2
//    8  bytes of body    4   at most what the moment allows: 256 before the proof
//   12  body
//       seal            32   HMAC-SHA256 of number, header and body; once the keys are agreed on
//
//   client (rank r)                                  server (rank 0)
//   hello      rank, ranks, incarnation, nonce, job
//                                                    challenge  nonce
//   proof      HMAC(secret, "client", both above)
//                                                    welcome    HMAC(secret, "server", both above)
//   card       card                          sealed from here on
//                                                    card       rank, incarnation, card; for each
//                                                    gone       rank; while ranks are missing
//                                                    complete   every rank is there
//   pong                                             ping       is the owner of this number alive
//                                                    refusal    reason, numbers; any time, the last
//
// SECRET   It never travels. The client proves itself first, so a stranger who connects gets
// nothing
//   that depends on it. Each direction has a key of its own and numbers its messages: none can be
//   changed, repeated or left out. Cards are not hidden from who can read the network.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "daemon/bootstrap/bootstrap.hpp"

namespace copykv::bootstrap {

inline constexpr uint16_t kWireVersion = 1;
inline constexpr uint32_t kWireHeaderBytes = 12;
inline constexpr uint32_t kSealBytes = 32;
inline constexpr uint32_t kNonceBytes = 32;
inline constexpr uint32_t kStrangerBodyBytesMax = 256;
inline constexpr uint32_t kBodyBytesMax = kCardBytesMax + 64;

enum class WireType : uint16_t {
  hello = 1,
  challenge,
  proof,
  welcome,
  card,
  gone,
  complete,
  ping,
  pong,
  refusal,
};

struct WireMessage {
  WireType type = WireType::hello;
  std::string body{};
};

class TcpLink {
 public:
  /// What the other side may send before it has proved itself.
  explicit TcpLink(uint32_t body_bytes_max = kStrangerBodyBytesMax)
      : body_bytes_max_(body_bytes_max) {}

  void receive(std::string_view bytes) { in_.append(bytes); }
  /// The next whole message. Fails, and goes on failing, on bytes that are none; the version of the
  /// other side is then in peer_version().
  [[nodiscard]] Outcome<std::optional<WireMessage>> next();
  [[nodiscard]] uint16_t peer_version() const noexcept { return peer_version_; }
  /// Whether bytes of a message are there that is not whole.
  [[nodiscard]] size_t unread_bytes() const noexcept { return in_.size(); }

  void send(WireType type, std::string_view body);
  [[nodiscard]] std::string_view to_send() const noexcept {
    return std::string_view(out_).substr(sent_);
  }
  void sent(size_t bytes) noexcept;

  /// From here on each message of that direction carries a seal, and may be long.
  void seal_sent(const std::string& key) { send_key_ = key; }
  void seal_received(const std::string& key) {
    receive_key_ = key;
    body_bytes_max_ = kBodyBytesMax;
  }

 private:
  [[nodiscard]] Failure fail(std::string why);

  std::string in_{};
  std::string out_{};
  size_t sent_ = 0;  ///< of out_
  std::string send_key_{};
  std::string receive_key_{};
  uint64_t sent_count_ = 0;
  uint64_t received_count_ = 0;
  uint32_t body_bytes_max_;
  uint16_t peer_version_ = kWireVersion;
  std::string failed_{};
};

struct Hello {
  uint32_t rank = 0;
  uint32_t ranks = 0;
  uint64_t incarnation = 0;
  std::string nonce{};
  std::string job{};
};
[[nodiscard]] std::string encode_hello(const Hello& hello);
[[nodiscard]] std::optional<Hello> decode_hello(std::string_view body);

struct RankCard {
  uint32_t rank = 0;
  uint64_t incarnation = 0;
  std::string card{};
};
[[nodiscard]] std::string encode_rank_card(uint32_t rank, uint64_t incarnation,
                                           std::string_view card);
[[nodiscard]] std::optional<RankCard> decode_rank_card(std::string_view body);

enum class Refusal : uint32_t {
  version = 1,  ///< number: none, the header says it
  other_job,
  wrong_secret,
  other_size,    ///< ranks as rank 0 has them
  number_taken,  ///< the owner lives
  superseded,    ///< the owner did not answer, another process has the number now
  missing,       ///< at the deadline of rank 0: the first of the ranks that did not come
  bad_message,
};
struct RefusalNote {
  Refusal reason = Refusal::bad_message;
  std::vector<uint32_t> numbers{};
};
[[nodiscard]] std::string encode_refusal(const RefusalNote& note);
[[nodiscard]] std::optional<RefusalNote> decode_refusal(std::string_view body);

/// What both sides compute from the secret and what they said before the proof.
struct Proofs {
  std::string client{};     ///< sent by the client
  std::string server{};     ///< sent by rank 0
  std::string to_server{};  ///< key of that direction
  std::string to_client{};
};
[[nodiscard]] Proofs make_proofs(std::string_view secret, std::string_view hello_body,
                                 std::string_view challenge_body);
/// Takes the same time wherever they differ.
[[nodiscard]] bool same_proof(std::string_view a, std::string_view b) noexcept;

}  // namespace copykv::bootstrap
