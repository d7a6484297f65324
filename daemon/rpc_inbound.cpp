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
  const auto room = static_cast<uint32_t>(std::min<size_t>(requests.size(), kGroupMax));
  uint32_t index = 0;
  taken_ = node_->take_calls(room, [&](const InboundCall& call) {
    calls_[index] = call;
    if (!decode(call.payload, call.payload_bytes, call.answer_bytes_max, index, requests[index])) {
      return false;
    }
    ++index;
    return true;
  });
  return taken_;
}

/// False: it makes no sense.
[[gnu::always_inline]] inline bool RpcNetwork::decode(const std::byte* payload,
                                                      uint32_t payload_bytes,
                                                      uint32_t answer_bytes_max, uint32_t index,
                                                      RemoteRequest& to) noexcept {
  if (answer_bytes_max < sizeof(RemoteAnswerHead)) [[unlikely]]
    return false;
  to.index = index;
  to.answer_value_bytes_max = answer_bytes_max - static_cast<uint32_t>(sizeof(RemoteAnswerHead));
  // A message is never shorter than this word; whether it is a whole head, its length tells.
  const uint64_t shape = load_word(payload);
  const auto op_and_mode = static_cast<uint16_t>(shape);
  const auto key_bytes = static_cast<uint16_t>(shape >> 16);
  const auto value_bytes = static_cast<uint32_t>(shape >> 32);
  const uint32_t value_at = sizeof(RemoteRequestHead) + round_up_8(key_bytes);
  if (op_and_mode == static_cast<uint8_t>(Op::get) && payload_bytes == value_at) {
    to.path = Path::plain_get;
  } else if (op_and_mode == static_cast<uint8_t>(Op::put) && value_bytes - 1 < kInlineValueBytes &&
             payload_bytes == value_at + value_bytes &&
             load_word(payload + offsetof(RemoteRequestHead, user_flags)) == 0) {
    to.path = Path::plain_put;
    to.value_bytes = value_bytes;
    to.value = payload + value_at;
  } else {
    return decode_general(payload, payload_bytes, index, to);
  }
  return take_key(payload + sizeof(RemoteRequestHead), key_bytes, index, to);
}

/// From the ring to private memory. False: there is none, or it is too long.
inline bool RpcNetwork::take_key(const std::byte* from, uint32_t bytes, uint32_t index,
                                 RemoteRequest& to) noexcept {
  if (bytes == sizeof(to.short_key)) [[likely]] {
    to.short_key = load_word(from);
    to.key = {&to.short_key, 8, hash_key({reinterpret_cast<const char*>(&to.short_key), 8})};
    return true;
  }
  if (bytes == 0 || bytes > kKeyBytesMax) return false;
  std::byte* const key = key_rooms_[index].bytes;
  std::memcpy(key, from, bytes);
  to.key = {key, bytes, hash_key({reinterpret_cast<const char*>(key), bytes})};
  return true;
}

bool RpcNetwork::decode_general(const std::byte* payload, uint32_t payload_bytes, uint32_t index,
                                RemoteRequest& to) noexcept {
  RemoteRequestHead head;
  if (payload_bytes < sizeof(head)) return false;
  std::memcpy(&head, payload, sizeof(head));
  if (head.op < kOpFirst || head.op > kOpLast ||
      (head.mode & ~(kModeCondition | kModeDescriptor)) != 0) {
    return false;
  }
  const auto op = static_cast<Op>(head.op);
  const bool moved = (head.mode & kModeDescriptor) != 0;
  const uint32_t value_inside = op == Op::put && !moved ? head.value_bytes : 0;
  const uint32_t key_at = sizeof(head) + (moved ? sizeof(RemoteMemory) : 0);
  const uint32_t value_at = key_at + round_up_8(head.key_bytes);
  if (value_inside > kInlineValueBytes || payload_bytes != value_at + value_inside) {
    return false;
  }
  to.path = Path::general;
  to.op = op;
  to.condition = static_cast<Condition>(head.mode & kModeCondition);
  to.value_bytes = op == Op::put ? head.value_bytes : 0;
  to.value = value_inside > 0 ? payload + value_at : nullptr;
  to.user_flags = head.user_flags;
  to.ttl_ms = head.ttl_ms;
  to.argument = head.argument;
  to.room_bytes = 0;
  if (moved) {
    RemoteMemory& memory = call_memory_[index];
    std::memcpy(&memory, payload + sizeof(head), sizeof(memory));
    if (op == Op::get) {
      to.room_bytes = memory.bytes;
    } else if (op != Op::put || head.value_bytes <= kInlineValueBytes ||
               head.value_bytes > memory.bytes) {
      return false;
    }
  }
  if (has_key(op)) return take_key(payload + key_at, head.key_bytes, index, to);
  to.key = {key_rooms_[index].bytes, 0, 0};
  return head.key_bytes == 0;
}

void RpcNetwork::put_back(uint32_t index) noexcept {
  node_->put_back(std::span(calls_).subspan(index, taken_ - index));
  taken_ = index;
}

void RpcNetwork::reply_plain(std::span<const RemoteRequest> requests) noexcept {
  constexpr uint32_t kHeadBytes = sizeof(RemoteAnswerHead);
  const InboundCall* call = &calls_[requests.front().index];
  for (const RemoteRequest& request : requests) {
    const uint32_t value_bytes = request.value_bytes;
    node_->reply(*call++, kHeadBytes + value_bytes, [&](std::byte* to) {
      store_words(to, RemoteAnswerHead::shape_of(Status::ok, false, value_bytes), request.version,
                  0);
      copy_words(to + kHeadBytes, request.value, value_bytes);
    });
  }
}

void RpcNetwork::reply(const RemoteRequest& request, const StoreAnswer& answer,
                       uint32_t value_bytes) noexcept {
  send_reply(calls_[request.index], answer, false, value_bytes);
}

void RpcNetwork::send_reply(const InboundCall& call, const StoreAnswer& answer, bool in_room,
                            uint32_t value_bytes) noexcept {
  constexpr uint32_t kHeadBytes = sizeof(RemoteAnswerHead);
  node_->reply(call, kHeadBytes + value_bytes, [&](std::byte* to) {
    store_words(to, RemoteAnswerHead::shape_of(answer.status, in_room, answer.value_bytes),
                answer.version, answer.user_flags);
    copy_words(to + kHeadBytes, answer.value, value_bytes);
  });
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
  send_reply(moving.call, answer, moving.op == Op::get && answer.status == Status::ok, 0);
}

}  // namespace copykv
