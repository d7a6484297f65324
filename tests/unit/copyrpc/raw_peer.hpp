// SPDX-License-Identifier: Apache-2.0
// A peer that says what a test wants: it keeps to the hello, and then writes any bytes into the
// ring that it was granted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "copyrpc/fabric/sim/sim_fabric.hpp"
#include "copyrpc/node.hpp"
#include "copyrpc/wire.hpp"

namespace copyrpc::test {

/// One message as a test wants it.
struct RawMessage {
  MessageHeader header{};
  std::string payload{};
};

class RawPeer {
 public:
  RawPeer(SimNetwork& network, PeerId self, uint64_t incarnation, uint32_t nodes);
  ~RawPeer();

  [[nodiscard]] Card card() const;
  /// Grants a ring to `node` and tells it; then the node's hello is awaited by poll. Once more: a
  /// new connection and a new session.
  void greet(const Card& node);
  /// Takes what has come. True: a batch was among it.
  bool poll();
  [[nodiscard]] bool up() const { return granted_ && theirs.seen_session == session_; }

  /// A well-formed batch of these messages, at the right place.
  [[nodiscard]] std::string batch_of(const std::vector<RawMessage>& messages);
  /// Writes the bytes behind what was written before, in two where the ring ends, and tells the
  /// node.
  void send(const std::string& bytes);
  /// Any bytes anywhere in the grant (ring and credit page), with or without telling.
  void write(uint64_t offset, const std::string& bytes);
  void tell(uint32_t immediate);
  void tell_batch(uint32_t number);
  void send_hello(const Hello& hello);
  [[nodiscard]] Hello own_hello() const;
  /// The messages of the node that stand in our ring, from the start of it.
  [[nodiscard]] std::vector<RawMessage> received() const;
  /// The messages of the node's next batch, of those that have come; none: there is no other.
  [[nodiscard]] std::vector<RawMessage> next_batch();
  [[nodiscard]] Fabric& fabric() { return *fabric_; }
  [[nodiscard]] PeerId node() const { return node_.node; }
  /// Where the next batch will stand.
  [[nodiscard]] uint64_t position() const { return position_; }

  bool confirms = true;  ///< says that it has got a grant
  Hello theirs{};
  uint32_t batches_sent = 0;
  uint32_t batches_read = 0;  ///< by next_batch; released with the next batch of ours

 private:
  static constexpr uint32_t kRingBytes = 65'536;
  [[nodiscard]] uint16_t tag() const { return static_cast<uint16_t>((0x777 + session_) & kTagMax); }

  const PeerId self_;
  const uint64_t incarnation_;
  std::unique_ptr<Fabric> fabric_;
  std::vector<std::byte> mailbox_;
  std::vector<std::byte> ring_;
  std::vector<std::byte> out_;
  Memory mailbox_memory_{};
  Memory ring_memory_{};
  Memory out_memory_{};
  Card node_{};
  uint64_t session_ = 1;
  uint64_t seen_ = 0;
  bool granted_ = false;
  bool greeted_ = false;
  uint64_t position_ = 0;
  uint64_t read_position_ = 0;
  uint32_t batches_told_ = 0;  ///< of this session, whole in the ring
};

}  // namespace copyrpc::test
