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
  /// Grants a ring to `node` and tells it; then the node's hello is awaited by poll.
  void greet(const Card& node);
  /// Takes what has come. True: a batch was among it.
  bool poll();
  [[nodiscard]] bool up() const { return granted_ && theirs.seen_session == session_; }

  /// A well-formed batch of these messages, at the right place.
  [[nodiscard]] std::string batch_of(const std::vector<RawMessage>& messages);
  /// Writes the bytes behind what was written before and tells the node.
  void send(const std::string& bytes);
  /// Any bytes anywhere in the grant (ring and credit page), with or without telling.
  void write(uint64_t offset, const std::string& bytes);
  void tell(uint32_t immediate);
  void send_hello(const Hello& hello);
  [[nodiscard]] Hello own_hello() const;
  /// The messages of the node that stand in our ring, from the start of it.
  [[nodiscard]] std::vector<RawMessage> received() const;

  Hello theirs{};
  uint32_t batches_sent = 0;

 private:
  static constexpr uint32_t kRingBytes = 65'536;

  SimNetwork& network_;
  const PeerId self_;
  const uint64_t incarnation_;
  const uint32_t nodes_;
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
  uint64_t position_ = 0;
};

}  // namespace copyrpc::test
