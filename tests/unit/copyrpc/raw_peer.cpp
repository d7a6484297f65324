// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/copyrpc/raw_peer.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/assert.hpp"
#include "copyrpc/ring.hpp"

namespace copyrpc::test {
namespace {

template <class T>
void append(std::string& to, const T& value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

RawPeer::RawPeer(SimNetwork& network, PeerId self, uint64_t incarnation, uint32_t nodes)
    : self_(self),
      incarnation_(incarnation),
      fabric_(network.attach()),
      mailbox_(size_t{nodes} * kMailboxBytes),
      ring_(kRingBytes + kCreditPageBytes),
      out_(4 * kRingBytes) {
  mailbox_memory_ =
      *fabric_->register_memory(mailbox_.data(), mailbox_.size(), Access::remote_write);
  ring_memory_ = *fabric_->register_memory(ring_.data(), ring_.size(), Access::remote_write);
  out_memory_ = *fabric_->register_memory(out_.data(), out_.size(), Access::local);
}

RawPeer::~RawPeer() {
  fabric_->deregister(mailbox_memory_);
  fabric_->deregister(ring_memory_);
  fabric_->deregister(out_memory_);
}

Card RawPeer::card() const {
  return {self_, incarnation_, mailbox_memory_.remote, fabric_->address()};
}

Hello RawPeer::own_hello() const {
  Hello hello{};
  hello.magic = kHelloMagic;
  hello.version = kWireVersion;
  hello.session = session_;
  hello.seen_session = seen_;
  hello.incarnation = incarnation_;
  hello.for_incarnation = node_.incarnation;
  hello.ring = ring_memory_.remote;
  hello.ring_bytes = kRingBytes;
  hello.message_bytes_max = 8192;
  hello.batches_max = 32;
  hello.sender = self_;
  hello.tag = tag();
  hello.checksum = checksum_of(hello);
  return hello;
}

void RawPeer::greet(const Card& node) {
  if (greeted_) {
    fabric_->disconnect(node_.node);
    // As a node does: what is left of the old session does not fit the new one.
    fabric_->deregister(ring_memory_);
    ring_memory_ = *fabric_->register_memory(ring_.data(), ring_.size(), Access::remote_write);
    ++session_;
    seen_ = position_ = read_position_ = 0;
    batches_sent = batches_read = batches_told_ = 0;
    granted_ = false;
  }
  greeted_ = true;
  node_ = node;
  const auto connected = fabric_->connect(node.node, node.address);
  COPYKV_ASSERT(connected, "{}", connected.error);
  send_hello(own_hello());
}

void RawPeer::send_hello(const Hello& hello) {
  std::memcpy(out_.data() + out_.size() - sizeof(hello), &hello, sizeof(hello));
  const LocalPart from{&out_memory_, out_.size() - sizeof(hello), sizeof(hello)};
  (void)fabric_->write_immediate(node_.node, from,
                                 node_.mailbox.at(uint64_t{self_} * kMailboxBytes),
                                 Immediate{Told::hello, self_, 0, 0}.pack(), kUnsignalled);
}

bool RawPeer::poll() {
  std::array<Completion, 64> completions;
  bool batch = false;
  const uint32_t count = fabric_->poll(completions);
  for (uint32_t index = 0; index < count; ++index) {
    if (completions[index].kind != Completion::Kind::arrived) continue;
    const Immediate told = Immediate::unpack(completions[index].immediate);
    if (told.told == Told::batch) batch = true;
    if (told.told == Told::batch && told.tag == tag()) ++batches_told_;
    if (told.told != Told::hello) continue;
    std::memcpy(&theirs, mailbox_.data() + size_t{told.sender} * kMailboxBytes, sizeof(theirs));
    granted_ = true;
    if (theirs.session != seen_) {
      seen_ = theirs.session;
      if (confirms) send_hello(own_hello());
    }
  }
  return batch;
}

std::string RawPeer::batch_of(const std::vector<RawMessage>& messages) {
  std::string body;
  uint32_t calls = 0;
  for (const RawMessage& message : messages) {
    calls += message.header.kind == MessageKind::call;
    append(body, message.header);
    body += message.payload;
    body.resize((body.size() + 15) / 16 * 16);
  }
  const BatchHeader header{.batch_bytes = static_cast<uint32_t>(sizeof(BatchHeader) + body.size()),
                           .message_count = static_cast<uint16_t>(messages.size()),
                           .version = kWireVersion,
                           .session = theirs.session,
                           .number = batches_sent,
                           .released = batches_read,
                           .call_count = static_cast<uint16_t>(calls),
                           .reserved = 0,
                           .reserved2 = 0};
  std::string bytes;
  append(bytes, header);
  return bytes + body;
}

void RawPeer::write(uint64_t offset, const std::string& bytes) {
  if (bytes.empty()) return;
  std::memcpy(out_.data() + offset, bytes.data(), bytes.size());
  const LocalPart from{&out_memory_, offset, static_cast<uint32_t>(bytes.size())};
  (void)fabric_->write(node_.node, from, theirs.ring.at(offset), kUnsignalled);
}

void RawPeer::tell(uint32_t immediate) {
  // Eight bytes of the credit page that nobody looks at.
  const LocalPart from{&out_memory_, 0, 8};
  (void)fabric_->write_immediate(node_.node, from, theirs.ring.at(theirs.ring_bytes + 1024),
                                 immediate, kUnsignalled);
}

void RawPeer::tell_batch(uint32_t number) {
  tell(Immediate{Told::batch, self_, static_cast<uint16_t>(theirs.tag), number}.pack());
}

void RawPeer::send(const std::string& bytes) {
  const uint32_t ring_bytes = std::min(theirs.ring_bytes, kRingBytes);
  const uint64_t offset = position_ & (ring_bytes - 1);
  const size_t straight = std::min<size_t>(bytes.size(), ring_bytes - offset);
  write(offset, bytes.substr(0, straight));
  write(0, bytes.substr(straight));
  position_ += (bytes.size() + 15) / 16 * 16;
  tell_batch(batches_sent++);
}

std::vector<RawMessage> RawPeer::received() const {
  std::vector<RawMessage> messages;
  BatchHeader batch;
  std::memcpy(&batch, ring_.data(), sizeof(batch));
  const std::byte* at = ring_.data() + sizeof(batch);
  for (uint32_t index = 0; index < batch.message_count; ++index) {
    RawMessage message;
    std::memcpy(&message.header, at, sizeof(message.header));
    message.payload.assign(reinterpret_cast<const char*>(at) + sizeof(message.header),
                           message.header.payload_bytes);
    at += message_bytes(message.header.payload_bytes);
    messages.push_back(std::move(message));
  }
  return messages;
}

std::vector<RawMessage> RawPeer::next_batch() {
  const RingView ring{ring_.data(), std::min(theirs.ring_bytes, kRingBytes)};
  std::vector<RawMessage> messages;
  if (batches_read == batches_told_) return messages;
  BatchHeader batch;
  ring.copy_out(read_position_, &batch, sizeof(batch));
  // A hello that lied about session or ring leads elsewhere.
  if (batch.session != session_ || batch.number != batches_read) return messages;
  uint64_t at = read_position_ + sizeof(batch);
  for (uint32_t index = 0; index < batch.message_count; ++index) {
    RawMessage& message = messages.emplace_back();
    ring.copy_out(at, &message.header, sizeof(message.header));
    if (message.header.payload_bytes > ring.bytes) return {};
    message.payload.resize(message.header.payload_bytes);
    ring.copy_out(at + sizeof(message.header), message.payload.data(),
                  message.header.payload_bytes);
    at += message_bytes(message.header.payload_bytes);
  }
  read_position_ += batch.batch_bytes;
  ++batches_read;
  return messages;
}

}  // namespace copyrpc::test
