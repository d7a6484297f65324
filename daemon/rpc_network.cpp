// SPDX-License-Identifier: Apache-2.0
// Calls out and answers in.
#include "daemon/rpc_network.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/assert.hpp"

namespace copykv {

using copyrpc::Answer;
using copyrpc::CallEnd;
using copyrpc::CallTag;
using copyrpc::Node;
using copyrpc::RemoteMemory;

namespace {

constexpr uint32_t kDescriptorsMax = 256;
constexpr uint32_t kNoDescriptor = 0xffff;
constexpr uint32_t kNoOwner = ~uint32_t{0};
constexpr uint32_t kAnswerReserveBytesMin = 512;

/// A ticket and what its end will need, in the two words that copyrpc keeps.
[[nodiscard]] CallTag pack(const Ticket& ticket, Op op, uint32_t descriptor) noexcept {
  return {{uint64_t{ticket.lane} << 32 | ticket.seq, uint64_t{ticket.slot} |
                                                         uint64_t{static_cast<uint8_t>(op)} << 8 |
                                                         uint64_t{descriptor} << 16}};
}
[[nodiscard]] Ticket ticket_of(const CallTag& tag) noexcept {
  return {static_cast<uint32_t>(tag.words[0] >> 32), static_cast<uint32_t>(tag.words[1] & 0xff),
          static_cast<uint32_t>(tag.words[0])};
}
[[nodiscard]] Op op_of(const CallTag& tag) noexcept {
  return static_cast<Op>(static_cast<uint8_t>(tag.words[1] >> 8));
}
[[nodiscard]] uint32_t descriptor_of(const CallTag& tag) noexcept {
  return static_cast<uint32_t>(tag.words[1] >> 16) & 0xffff;
}

[[nodiscard]] Network::Sent sent_of(Node::Sent sent) noexcept {
  if (sent == Node::Sent::accepted) return Network::Sent::accepted;
  return sent == Node::Sent::full ? Network::Sent::full : Network::Sent::unreachable;
}

/// Of a call of `op` without a descriptor.
[[nodiscard]] bool is_plain(const CallTag& tag, Op op) noexcept {
  return tag.words[1] >> 8 == (uint64_t{static_cast<uint8_t>(op)} | uint64_t{kNoDescriptor} << 8);
}

/// What a call ends as that got no answer.
[[nodiscard]] Status lost(Op op, CallEnd end) noexcept {
  return is_write(op) && end != CallEnd::unsent ? Status::indeterminate : Status::unreachable;
}

}  // namespace

Outcome<std::unique_ptr<RpcNetwork>> RpcNetwork::create(std::unique_ptr<copyrpc::Fabric> fabric,
                                                        const copyrpc::NodeOptions& options,
                                                        const Clock& clock,
                                                        std::span<std::byte> arena) {
  std::unique_ptr<RpcNetwork> network(new RpcNetwork());
  network->fabric_ = std::move(fabric);
  copyrpc::NodeOptions with = options;
  with.message_bytes_max = kRemoteMessageBytesMax;
  with.transfers_max = kMovesMax * 4;
  auto node = Node::create(with, *network->fabric_, clock);
  if (!node) return Failure{node.error};
  network->node_ = std::move(*node);
  auto memory =
      network->fabric_->register_memory(arena.data(), arena.size(), copyrpc::Access::local);
  if (!memory) return Failure{memory.error};
  network->arena_ = *memory;
  network->answer_reserve_bytes_ = kAnswerReserveBytesMin;
  network->key_rooms_.resize(kGroupMax);
  network->descriptors_.resize(kDescriptorsMax);
  for (uint32_t index = 0; index < kDescriptorsMax; ++index) {
    network->descriptors_[index].next_free =
        index + 1 < kDescriptorsMax ? index + 1 : kNoDescriptor;
  }
  return network;
}

RpcNetwork::~RpcNetwork() {
  node_.reset();
  for (Descriptor& descriptor : descriptors_) {
    if (descriptor.memory.registered()) fabric_->deregister(descriptor.memory);
  }
  if (arena_.registered()) fabric_->deregister(arena_);
}

/// Registers the memory of a large value for this one call.
Network::Sent RpcNetwork::describe(const Pending& request, uint32_t& descriptor) noexcept {
  const bool is_put = request.op == static_cast<uint8_t>(Op::put);
  if (free_descriptor_ == kNoDescriptor) return Sent::full;
  const uint64_t bytes = is_put ? request.value_bytes : request.room_bytes;
  auto memory = fabric_->register_memory(request.memory, bytes, copyrpc::Access::remote_read_write);
  if (!memory) return Sent::full;
  descriptor = free_descriptor_;
  free_descriptor_ = descriptors_[descriptor].next_free;
  descriptors_[descriptor].memory = *memory;
  return Sent::accepted;
}

void RpcNetwork::release_descriptor(uint32_t descriptor) noexcept {
  if (descriptor == kNoDescriptor) return;
  fabric_->deregister(descriptors_[descriptor].memory);
  descriptors_[descriptor].memory = {};
  descriptors_[descriptor].next_free = free_descriptor_;
  free_descriptor_ = descriptor;
}

uint32_t RpcNetwork::call_plain(std::span<const Pending> requests, Sent& sent) noexcept {
  copyrpc::Peer* peer = nullptr;
  uint32_t owner = kNoOwner;
  uint32_t accepted = 0;
  for (const Pending& request : requests) {
    if (!is_remote(request.path)) break;
    if (request.owner != owner) {
      owner = request.owner;
      peer = peer_of(owner);
    }
    Sent one = Sent::unreachable;
    if (peer != nullptr) [[likely]] {
      one = request.path == Path::remote_get ? send_plain<Op::get>(*peer, request)
                                             : send_plain<Op::put>(*peer, request);
    }
    if (one != Sent::accepted) [[unlikely]] {
      sent = one;
      break;
    }
    ++accepted;
  }
  return accepted;
}

/// A get or put whose key and value stand in the line, as most are.
template <Op op>
[[gnu::always_inline]] inline Network::Sent RpcNetwork::send_plain(
    copyrpc::Peer& peer, const Pending& request) noexcept {
  constexpr uint32_t kHeadBytes = sizeof(RemoteRequestHead);
  const uint32_t key_bytes = request.key.bytes;
  const uint32_t value_bytes = op == Op::put ? request.value_bytes : 0;
  const uint32_t value_at = kHeadBytes + round_up_8(key_bytes);
  const uint32_t answer_bytes =
      static_cast<uint32_t>(sizeof(RemoteAnswerHead)) + (op == Op::put ? 0 : answer_reserve_bytes_);
  const auto write = [&](std::byte* to, CallTag& tag) {
    tag = pack(request.ticket(), op, kNoDescriptor);
    store_words(to, RemoteRequestHead::shape_of(op, key_bytes, value_bytes), 0, 0);
    copy_key(to + kHeadBytes, request.key.data, key_bytes);
    if (op == Op::put) copy_shared_words(to + value_at, request.line_value(), value_bytes);
  };
  return sent_of(node_->call(peer, value_at + value_bytes, answer_bytes, write));
}

Network::Sent RpcNetwork::call(const Pending& request) noexcept {
  copyrpc::Peer* const peer = peer_of(request.owner);
  if (peer == nullptr) return Sent::unreachable;
  const auto op = static_cast<Op>(request.op);
  const bool is_put = op == Op::put;
  const bool moved = (is_put && request.value_bytes > kInlineValueBytes) ||
                     (op == Op::get && request.room_bytes > 0);
  uint32_t descriptor = kNoDescriptor;
  if (moved) {
    const Sent described = describe(request, descriptor);
    if (described != Sent::accepted) return described;
  }
  const uint32_t value_bytes = is_put && !moved ? request.value_bytes : 0;
  const uint32_t key_at = sizeof(RemoteRequestHead) + (moved ? sizeof(RemoteMemory) : 0);
  const uint32_t value_at = key_at + round_up_8(request.key.bytes);
  uint32_t answer_bytes = sizeof(RemoteAnswerHead);
  if (op == Op::get) answer_bytes += answer_reserve_bytes_;
  if (op == Op::keys) answer_bytes += kInlineValueBytes;
  if (op == Op::add) answer_bytes += sizeof(int64_t);
  const auto write = [&](std::byte* to, CallTag& tag) {
    tag = pack(request.ticket(), op, descriptor);
    const RemoteRequestHead head{.op = request.op,
                                 .mode = static_cast<uint8_t>((request.condition & kModeCondition) |
                                                              (moved ? kModeDescriptor : 0)),
                                 .key_bytes = static_cast<uint16_t>(request.key.bytes),
                                 .value_bytes = is_put ? request.value_bytes : 0,
                                 .argument = request.argument,
                                 .user_flags = request.user_flags,
                                 .ttl_ms = request.ttl_ms};
    std::memcpy(to, &head, sizeof(head));
    if (moved) {
      const RemoteMemory& remote = descriptors_[descriptor].memory.remote;
      std::memcpy(to + sizeof(head), &remote, sizeof(remote));
    }
    copy_words(to + key_at, request.key.data, request.key.bytes);
    copy_from_shared(to + value_at, request.memory, value_bytes);
  };
  const Sent sent = sent_of(node_->call(*peer, value_at + value_bytes, answer_bytes, write));
  if (sent != Sent::accepted) release_descriptor(descriptor);
  return sent;
}

uint32_t RpcNetwork::take_answers(std::span<RemoteAnswer> answers) noexcept {
  ++turns_;
  if (fabric_->limits().poll_is_system_call && turns_ % kTurnsPerIdlePoll != 0 && !busy()) return 0;
  (void)node_->poll();
  return node_->take_answers(static_cast<uint32_t>(answers.size()),
                             [this, next = answers.data()](const Answer& answer) mutable {
                               return take_answer(answer, *next++);
                             });
}

/// False: what the owner has sent makes no sense.
inline bool RpcNetwork::take_answer(const Answer& answer, RemoteAnswer& to) noexcept {
  to.ticket = ticket_of(answer.tag);
  if (answer.rtt_ns > 0 && rtt_ != nullptr) [[unlikely]]
    rtt_->record(answer.rtt_ns);
  if (decode_plain(answer, to)) [[likely]]
    return true;
  return take_general(answer.tag, answer.end, answer.peer, {answer.payload, answer.payload_bytes},
                      to);
}

/// An answer as most are: ok, to a get with the value here, or to a put. False: nothing was done.
inline bool RpcNetwork::decode_plain(const Answer& answer, RemoteAnswer& to) noexcept {
  constexpr uint32_t kHeadBytes = sizeof(RemoteAnswerHead);
  const bool is_get = is_plain(answer.tag, Op::get);
  if ((!is_get && !is_plain(answer.tag, Op::put)) || answer.end != CallEnd::answered ||
      answer.payload_bytes < kHeadBytes) {
    return false;
  }
  const uint32_t value_bytes = answer.payload_bytes - kHeadBytes;
  if (load_word(answer.payload) != RemoteAnswerHead::shape_of(Status::ok, false, value_bytes) ||
      (!is_get && value_bytes > 0)) {
    return false;
  }
  to.status = Status::ok;
  to.in_room = false;
  to.user_flags = static_cast<uint32_t>(load_word(answer.payload + 16));
  to.version = load_word(answer.payload + 8);
  to.value = answer.payload + kHeadBytes;  // of a put: of no bytes
  to.value_bytes = value_bytes;
  return true;
}

/// As take_answer, for any. The parts of an answer: so the caller's own stays in registers.
bool RpcNetwork::take_general(CallTag tag, CallEnd end, copyrpc::PeerId peer,
                              std::span<const std::byte> payload, RemoteAnswer& to) noexcept {
  const Op op = op_of(tag);
  const uint32_t descriptor = descriptor_of(tag);
  const bool answered = end == CallEnd::answered;
  const bool sane = !answered || decode_answer(op, descriptor, payload, to);
  if (!answered || !sane) to = {.ticket = to.ticket, .status = lost(op, end)};
  if (descriptor != kNoDescriptor) {
    // Before the client can know: from here on its memory is its own again. An owner that has not
    // answered, or not as it should, may be at it still: its connection must end first.
    if (!sane) node_->drop(peer, "an answer that cannot be");
    if (end == CallEnd::timed_out) node_->drop(peer, "a large value has taken too long");
    release_descriptor(descriptor);
  }
  return sane;
}

bool RpcNetwork::decode_answer(Op op, uint32_t descriptor, std::span<const std::byte> payload,
                               RemoteAnswer& to) noexcept {
  RemoteAnswerHead head;
  if (payload.size() < sizeof(head)) return false;
  std::memcpy(&head, payload.data(), sizeof(head));
  const auto inside = static_cast<uint32_t>(payload.size() - sizeof(head));
  const std::byte* body = payload.data() + sizeof(head);
  if (head.status >= kStatusCount || head.in_room > 1 || head.reserved != 0) return false;
  to = {.ticket = to.ticket,
        .status = static_cast<Status>(head.status),
        .in_room = head.in_room != 0,
        .user_flags = head.user_flags,
        .version = head.version,
        .value_bytes = head.value_bytes};
  if (op == Op::add) {
    if (inside != sizeof(to.number)) return false;
    std::memcpy(&to.number, body, sizeof(to.number));
    return true;
  }
  const bool has_value = to.status == Status::ok && (op == Op::get || op == Op::keys);
  if (to.in_room) {
    return has_value && inside == 0 && descriptor != kNoDescriptor &&
           head.value_bytes <= descriptors_[descriptor].memory.bytes;
  }
  if (inside != (has_value ? head.value_bytes : 0)) return false;
  if (has_value) to.value = body;
  // The next gets of such values reserve room for them.
  if (op == Op::get && to.status == Status::buffer_too_small) {
    const uint32_t wanted = std::min(head.value_bytes, kInlineValueBytes);
    answer_reserve_bytes_ = std::max(answer_reserve_bytes_, std::bit_ceil(wanted));
  }
  return true;
}

void RpcNetwork::show(DaemonBlock& block) const noexcept {
  const copyrpc::NodeCounters& counters = node_->counters();
  poke(block.remote_answers, counters.answers + counters.calls_lost);
  poke(block.messages_sent, counters.messages_sent);
  poke(block.batches_sent, counters.batches_sent);
  poke(block.batches_received, counters.batches_received);
  poke(block.ring_full, counters.ring_full);
  poke<uint64_t>(block.peers_up, node_->peers_up());
  poke(block.peers_failed, counters.peers_failed);
  poke(block.peer_violations, counters.violations);
}

}  // namespace copykv
