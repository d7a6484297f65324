// SPDX-License-Identifier: Apache-2.0
// Requests of other ranks: decoding, replies, and large values in pieces. Everything in a request
// is copied out of the ring and checked; values alone stay there, read once by the store.
#include <algorithm>
#include <bit>
#include <cstring>

#include "base/assert.hpp"
#include "daemon/rpc_network.hpp"

namespace copykv {

using copyrpc::Fabric;
using copyrpc::InboundCall;
using copyrpc::RemoteMemory;
using copyrpc::TransferEnd;

namespace {

// Small enough that a piece does not hold up the small messages behind it for long, large enough
// that its fixed cost is small.
constexpr uint32_t kPieceBytes = 256 * 1024;
constexpr uint32_t kPiecesOut = 2;

}  // namespace

uint32_t RpcNetwork::take_requests(std::span<RemoteRequest> requests) noexcept {
  const size_t room = std::min<size_t>(requests.size(), kGroupMax);
  taken_ = node_->take_calls(std::span(calls_).first(room));
  for (uint32_t index = 0; index < taken_; ++index) {
    if (decode(calls_[index], index, requests[index])) continue;
    // What stands before it is served; its session is over, and with it the rest of its calls.
    const copyrpc::PeerId peer = calls_[index].peer;
    node_->put_back(std::span(calls_).subspan(index, taken_ - index));
    node_->reject(peer, "a request that cannot be");
    taken_ = index;
  }
  return taken_;
}

bool RpcNetwork::decode(const InboundCall& call, uint32_t index, RemoteRequest& to) noexcept {
  RemoteRequestHead head;
  if (call.payload_bytes < sizeof(head)) return false;
  std::memcpy(&head, call.payload, sizeof(head));
  if (head.op < kOpFirst || head.op > kOpLast || head.key_bytes > kKeyBytesMax ||
      (head.mode & ~(kModeCondition | kModeDescriptor)) != 0 ||
      call.answer_bytes_max < sizeof(RemoteAnswerHead)) {
    return false;
  }
  const auto op = static_cast<Op>(head.op);
  const bool moved = (head.mode & kModeDescriptor) != 0;
  if (has_key(op) != (head.key_bytes > 0) || (moved && op != Op::put && op != Op::get))
    return false;
  const uint32_t value_inside = op == Op::put && !moved ? head.value_bytes : 0;
  const uint32_t key_at = sizeof(head) + (moved ? sizeof(RemoteMemory) : 0);
  const uint32_t value_at = key_at + round_up_8(head.key_bytes);
  if (value_inside > kInlineValueBytes || call.payload_bytes != value_at + value_inside) {
    return false;
  }
  call_memory_[index].bytes = 0;
  if (moved) std::memcpy(&call_memory_[index], call.payload + sizeof(head), sizeof(RemoteMemory));
  if (moved && op == Op::put &&
      (head.value_bytes <= kInlineValueBytes || head.value_bytes > call_memory_[index].bytes)) {
    return false;
  }
  std::byte* key = key_rooms_[index].bytes;
  copy_key(key, call.payload + key_at, head.key_bytes);
  to = {.key = {key, head.key_bytes, 0},
        .op = op,
        .condition = static_cast<Condition>(head.mode & kModeCondition),
        .value_bytes = op == Op::put ? head.value_bytes : 0,
        .value = value_inside > 0 ? call.payload + value_at : nullptr,
        .user_flags = head.user_flags,
        .ttl_ms = head.ttl_ms,
        .argument = head.argument,
        .answer_value_bytes_max =
            call.answer_bytes_max - static_cast<uint32_t>(sizeof(RemoteAnswerHead)),
        .room_bytes = op == Op::get ? call_memory_[index].bytes : 0,
        .index = index};
  if (head.key_bytes > 0) {
    to.key.hash = hash_key({reinterpret_cast<const char*>(key), head.key_bytes});
  }
  return true;
}

void RpcNetwork::put_back(uint32_t index) noexcept {
  node_->put_back(std::span(calls_).subspan(index, taken_ - index));
  taken_ = index;
}

void RpcNetwork::reply(const RemoteRequest& request, const StoreAnswer& answer,
                       std::span<const std::byte> value) noexcept {
  send_reply(calls_[request.index], request.op, answer, false, value);
}

void RpcNetwork::send_reply(const InboundCall& call, Op op, const StoreAnswer& answer, bool in_room,
                            std::span<const std::byte> value) noexcept {
  const RemoteAnswerHead head{.status = static_cast<uint8_t>(answer.status),
                              .in_room = in_room,
                              .reserved = 0,
                              .value_bytes = answer.value_bytes,
                              .version = answer.version,
                              .user_flags = answer.user_flags,
                              .reserved2 = 0};
  const std::span<const std::byte> sum(reinterpret_cast<const std::byte*>(&answer.number),
                                       sizeof(answer.number));
  node_->reply(call, std::as_bytes(std::span(&head, 1)), op == Op::add ? sum : value);
}

bool RpcNetwork::move(const RemoteRequest& request, uint32_t move, std::byte* memory,
                      uint32_t bytes) noexcept {
  Moving& moving = moving_[move];
  COPYKV_ASSERT(!moving.active, "move={}", move);
  moving = {.call = calls_[request.index],
            .op = request.op,
            .remote = call_memory_[request.index],
            .arena_offset = static_cast<uint64_t>(memory - arena_.base),
            .bytes = bytes,
            .active = true};
  ++moves_busy_;
  return true;
}

/// Posts the next pieces. A caller whose session has ended gets no more of them.
void RpcNetwork::advance_moves() noexcept {
  for (uint32_t index = 0; index < kMovesMax; ++index) {
    Moving& moving = moving_[index];
    if (!moving.active || moving.told || moving.failed) continue;
    if (!node_->is_live(moving.call)) moving.failed = true;
    while (!moving.failed && moving.pieces_out < kPiecesOut && moving.posted_bytes < moving.bytes) {
      const uint32_t bytes = std::min(kPieceBytes, moving.bytes - moving.posted_bytes);
      const copyrpc::LocalPart local{&arena_, moving.arena_offset + moving.posted_bytes, bytes};
      const RemoteMemory remote = moving.remote.at(moving.posted_bytes);
      const Fabric::Posted posted = moving.op == Op::put
                                        ? node_->read(moving.call.peer, local, remote, index)
                                        : node_->write(moving.call.peer, local, remote, index);
      if (posted == Fabric::Posted::full) break;
      if (posted == Fabric::Posted::down) {
        moving.failed = true;
        break;
      }
      moving.posted_bytes += bytes;
      ++moving.pieces_out;
    }
  }
}

uint32_t RpcNetwork::take_moved(std::span<MoveEnd> ends) noexcept {
  if (moves_busy_ == 0) return 0;
  std::array<TransferEnd, 16> pieces;
  const uint32_t count = node_->take_transfers(pieces);
  for (uint32_t index = 0; index < count; ++index) {
    Moving& moving = moving_[pieces[index].index];
    --moving.pieces_out;
    moving.failed = moving.failed || !pieces[index].ok;
  }
  advance_moves();
  uint32_t told = 0;
  for (uint32_t index = 0; index < kMovesMax && told < ends.size(); ++index) {
    Moving& moving = moving_[index];
    if (!moving.active || moving.told || moving.pieces_out > 0) continue;
    if (!moving.failed && moving.posted_bytes < moving.bytes) continue;
    ends[told++] = {index, !moving.failed};
    --moves_busy_;
    moving.told = true;
    if (moving.failed) moving.active = false;
  }
  return told;
}

void RpcNetwork::reply_moved(uint32_t move, const StoreAnswer& answer) noexcept {
  Moving& moving = moving_[move];
  COPYKV_ASSERT(moving.active && moving.told, "move={}", move);
  moving.active = false;
  send_reply(moving.call, moving.op, answer, moving.op == Op::get && answer.status == Status::ok,
             {});
}

}  // namespace copykv
