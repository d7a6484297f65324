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
Network::Sent RpcNetwork::describe(uint32_t owner, const Pending& request,
                                   uint32_t& descriptor) noexcept {
  const bool is_put = request.op == static_cast<uint8_t>(Op::put);
  if (!node_->is_up(owners_[owner])) return Sent::unreachable;
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

Network::Sent RpcNetwork::call(uint32_t owner, const Pending& request) noexcept {
  if (owner >= owners_.size()) return Sent::unreachable;
  const auto op = static_cast<Op>(request.op);
  const bool is_put = op == Op::put;
  const bool moved = (is_put && request.value_bytes > kInlineValueBytes) ||
                     (op == Op::get && request.room_bytes > 0);
  uint32_t descriptor = kNoDescriptor;
  if (moved) {
    const Sent described = describe(owner, request, descriptor);
    if (described != Sent::accepted) return described;
  }
  alignas(8) std::byte head[sizeof(RemoteRequestHead) + sizeof(RemoteMemory) + kKeyBytesMax];
  const RemoteRequestHead fixed{.op = request.op,
                                .mode = static_cast<uint8_t>((request.condition & kModeCondition) |
                                                             (moved ? kModeDescriptor : 0)),
                                .key_bytes = static_cast<uint16_t>(request.key.bytes),
                                .value_bytes = is_put ? request.value_bytes : 0,
                                .argument = request.argument,
                                .user_flags = request.user_flags,
                                .ttl_ms = request.ttl_ms};
  std::memcpy(head, &fixed, sizeof(fixed));
  uint32_t head_bytes = sizeof(fixed);
  if (moved) {
    std::memcpy(head + head_bytes, &descriptors_[descriptor].memory.remote, sizeof(RemoteMemory));
    head_bytes += sizeof(RemoteMemory);
  }
  copy_key(head + head_bytes, request.key.data, request.key.bytes);
  head_bytes += round_up_8(request.key.bytes);
  const std::span<const std::byte> value(request.memory,
                                         is_put && !moved ? request.value_bytes : uint32_t{0});
  uint32_t answer_bytes = sizeof(RemoteAnswerHead);
  if (op == Op::get) answer_bytes += answer_reserve_bytes_;
  if (op == Op::keys) answer_bytes += kInlineValueBytes;
  if (op == Op::add) answer_bytes += sizeof(int64_t);
  const Node::Sent sent = node_->call(owners_[owner], {head, head_bytes}, value, answer_bytes,
                                      pack(request.ticket(), op, descriptor));
  if (sent == Node::Sent::accepted) return Sent::accepted;
  release_descriptor(descriptor);
  return sent == Node::Sent::full ? Sent::full : Sent::unreachable;
}

uint32_t RpcNetwork::poll_answers(AnswerSink& sink, uint32_t answers_max) noexcept {
  ++turns_;
  if (fabric_->limits().poll_is_system_call && turns_ % kTurnsPerIdlePoll != 0 && !busy()) return 0;
  (void)node_->poll();
  const uint32_t count = node_->take_answers(
      std::span(answers_).first(std::min<size_t>(answers_max, answers_.size())));
  for (uint32_t index = 0; index < count; ++index) deliver(sink, answers_[index]);
  return count;
}

void RpcNetwork::deliver(AnswerSink& sink, const Answer& answer) noexcept {
  const Op op = op_of(answer.tag);
  RemoteAnswer remote;
  if (answer.end != CallEnd::answered) {
    remote.status = lost(op, answer.end);
  } else if (!decode_answer(answer, op, remote)) {
    node_->reject(answer.peer, "an answer that cannot be");
    remote = {.status = lost(op, CallEnd::lost)};
  }
  if (rtt_ != nullptr && answer.rtt_ns > 0) rtt_->record(answer.rtt_ns);
  // Before the client can know: from here on its memory is its own again. An owner that has not
  // answered may be at it still: its connection must end first.
  if (answer.end == CallEnd::timed_out && descriptor_of(answer.tag) != kNoDescriptor) {
    node_->drop(answer.peer, "a large value has taken too long");
  }
  release_descriptor(descriptor_of(answer.tag));
  sink.on_answer(ticket_of(answer.tag), remote);
}

bool RpcNetwork::decode_answer(const Answer& answer, Op op, RemoteAnswer& to) noexcept {
  RemoteAnswerHead head;
  if (answer.payload_bytes < sizeof(head)) return false;
  std::memcpy(&head, answer.payload, sizeof(head));
  const uint32_t inside = answer.payload_bytes - static_cast<uint32_t>(sizeof(head));
  const std::byte* body = answer.payload + sizeof(head);
  if (head.status >= kStatusCount || head.in_room > 1 || head.reserved != 0) return false;
  to = {.status = static_cast<Status>(head.status),
        .user_flags = head.user_flags,
        .version = head.version,
        .value_bytes = head.value_bytes};
  if (op == Op::add) {
    if (inside != sizeof(to.number)) return false;
    std::memcpy(&to.number, body, sizeof(to.number));
    return true;
  }
  const bool has_value = to.status == Status::ok && (op == Op::get || op == Op::keys);
  if (head.in_room != 0) {
    const uint32_t descriptor = descriptor_of(answer.tag);
    to.in_room = true;
    return has_value && inside == 0 && descriptor != kNoDescriptor &&
           head.value_bytes <= descriptors_[descriptor].memory.bytes;
  }
  if (inside != (has_value ? head.value_bytes : 0)) return false;
  to.value = {body, inside};
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
