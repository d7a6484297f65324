// SPDX-License-Identifier: Apache-2.0
// Requests out: choose lane and placement, write the slot, publish, wake a sleeping daemon.
#include <algorithm>

#include "base/hash.hpp"
#include "client/impl.hpp"
#include "shm/wake.hpp"

namespace copykv {

LaneEnd& ClientImpl::lane_of_key(std::string_view key) noexcept {
  if (lanes_.size() == 1) [[likely]]
    return lanes_[0];
  const uint8_t rail = peek(connection_.rank().partition_rail[partition_of(hash_key(key))]);
  return lanes_[rail < lanes_.size() ? rail : 0];
}

LaneEnd& ClientImpl::lane_of(const Request& request) noexcept {
  if (has_key(request.op)) return lane_of_key(request.key);
  if (request.daemon < lanes_.size()) return lanes_[request.daemon];
  const uint8_t rail =
      request.daemon < kOwnersMax ? peek(connection_.rank().owners[request.daemon].rail) : 0;
  return lanes_[rail < lanes_.size() ? rail : 0];
}

std::optional<SampledRequest> ClientImpl::sample_next(std::string_view key) noexcept {
  LaneEnd& lane = lane_of_key(key);
  if (broken_ || lane.used == lane.depth) return std::nullopt;
  const uint32_t seq = lane.records[lane.head].seq + 1;
  poke(lane.slots[lane.head].request.owner, seq);
  return SampledRequest{connection_.geometry().client_number, lane.index, lane.head, seq};
}

void ClientImpl::expire_views() noexcept {
  for (const BulkRoom& room : expiring_) bulk_.release(room);
  expiring_.clear();
  delivered_.clear();
  views_out_ = false;
}

/// The request becomes the daemon's.
inline void ClientImpl::publish_head(LaneEnd& lane, RequestLine& line, RequestHead head) noexcept {
  publish(line.head, head.pack());  // [A]
  COPYKV_FAULT_POINT("submit.published");
  light_fence(connection_.fence_free());  // [C]
  if (peek(lane.daemon->sleeping) != 0) [[unlikely]]
    connection_.wake(lane.index);
  COPYKV_FAULT_POINT("submit.woken");
}

/// Takes the next slot of the lane for a small operation.
inline RequestLine& ClientImpl::claim(LaneEnd& lane, Op op, uint64_t tag, Sink sink,
                                      SlotRef& at) noexcept {
  uint32_t slot = 0;
  OpRecord& record = lane.take(slot);
  record.tag = tag;
  record.sink = sink;
  record.op = op;
  record.attempts = 0;
  if (sink == Sink::user) ++user_asked_;
  at = {&lane, slot};
  COPYKV_FAULT_POINT("submit.slot_taken");
  return lane.slots[slot].request;
}

Status ClientImpl::start_get(std::string_view key, uint64_t tag, Sink sink, SlotRef& at) noexcept {
  if (key.size() - 1 >= kRequestLineDataBytes || views_out_ || broken_) [[unlikely]] {
    return start({.op = Op::get, .key = key}, tag, sink, at);
  }
  LaneEnd& lane = lane_of_key(key);
  if (lane.used == lane.depth) return Status::would_block;
  RequestLine& line = claim(lane, Op::get, tag, sink, at);
  copy_to_shared(line.data, key.data(), key.size());
  COPYKV_FAULT_POINT("submit.body_written");
  publish_head(lane, line,
               {lane.records[at.slot].seq, static_cast<uint8_t>(Op::get), 0,
                static_cast<uint16_t>(key.size())});
  return Status::ok;
}

Status ClientImpl::start_put(std::string_view key, std::string_view value,
                             const PutOptions& options, uint64_t tag, Sink sink,
                             SlotRef& at) noexcept {
  const uint64_t key_room = round_up_8(static_cast<uint32_t>(key.size()));
  if (key.size() - 1 >= kRequestLineDataBytes || views_out_ || broken_ ||
      value.size() > kRequestLineDataBytes - key_room) [[unlikely]] {
    return start(put_request(key, value, options), tag, sink, at);
  }
  LaneEnd& lane = lane_of_key(key);
  if (lane.used == lane.depth) return Status::would_block;
  RequestLine& line = claim(lane, Op::put, tag, sink, at);
  copy_to_shared(line.data, key.data(), key.size());
  copy_to_shared(line.data + key_room / 8, value.data(), value.size());
  COPYKV_FAULT_POINT("submit.body_written");
  poke(line.value_bytes, static_cast<uint32_t>(value.size()));
  poke(line.user_flags, options.flags);
  poke(line.argument, options.version);
  poke(line.ttl_ms, options.ttl_ms);
  publish_head(lane, line,
               {lane.records[at.slot].seq, static_cast<uint8_t>(Op::put),
                static_cast<uint8_t>(static_cast<uint32_t>(options.when) << 2),
                static_cast<uint16_t>(key.size())});
  return Status::ok;
}

Status ClientImpl::start(const Request& request, uint64_t tag, Sink sink, SlotRef& at) noexcept {
  if (has_key(request.op) && request.key.size() - 1 >= kKeyBytesMax) [[unlikely]] {
    return Status::invalid_key;
  }
  if (broken_) [[unlikely]] {
    // A room is part of the attachment that is gone.
    if (request.room.bytes > 0 || !attached()) return Status::disconnected;
  }
  if (views_out_) [[unlikely]]
    expire_views();
  LaneEnd& lane = lane_of(request);
  if (lane.used == lane.depth) return Status::would_block;
  const auto key_bytes = static_cast<uint32_t>(request.key.size());
  const bool in_line = round_up_8(key_bytes) + request.value_bytes <= kRequestLineDataBytes;
  if (!in_line || request.room.bytes > 0) [[unlikely]] {
    return start_large(lane, request, tag, sink, at);
  }
  send(lane, request, Placement::line, tag, sink, at);
  return Status::ok;
}

Status ClientImpl::start_large(LaneEnd& lane, const Request& request, uint64_t tag, Sink sink,
                               SlotRef& at) noexcept {
  const auto key_bytes = static_cast<uint32_t>(request.key.size());
  if (request.value_bytes > connection_.rank().value_bytes_max) return Status::value_too_large;
  if (request.room.bytes > 0) {  // a get with room for a large answer, or a filled Buffer
    send(lane, request, Placement::bulk, tag, sink, at);
    return Status::ok;
  }
  if (round_up_8(key_bytes) + request.value_bytes <= lane.slot_payload_bytes) {
    send(lane, request, Placement::page, tag, sink, at);
    return Status::ok;
  }
  if (request.value_bytes > connection_.geometry().bulk_bytes_max) return Status::value_too_large;
  Request large = request;
  large.room = reserve_room(request.value_bytes);
  if (large.room.bytes == 0) return broken_ ? Status::disconnected : Status::would_block;
  copy_to_shared(connection_.bulk() + large.room.offset, request.value.data(),
                 request.value.size());
  send(lane, large, Placement::bulk, tag, sink, at);
  return Status::ok;
}

void ClientImpl::send(LaneEnd& lane, const Request& request, Placement placement, uint64_t tag,
                      Sink sink, SlotRef& at) noexcept {
  uint32_t slot_index = 0;
  OpRecord& record = lane.take(slot_index);
  record.tag = tag;
  record.sink = sink;
  record.op = request.op;
  record.attempts = 0;
  record.room = request.room;
  if (sink == Sink::user) ++user_asked_;
  at = {&lane, slot_index};

  RequestLine& line = lane.slots[slot_index].request;
  const auto key_bytes = static_cast<uint32_t>(request.key.size());
  COPYKV_FAULT_POINT("submit.slot_taken");
  if (placement == Placement::line) {
    copy_to_shared(line.data, request.key.data(), key_bytes);
    if (request.value_bytes > 0) {
      copy_to_shared(line.data + round_up_8(key_bytes) / 8, request.value.data(),
                     request.value.size());
    }
  } else {
    std::byte* page = lane.payload_of(slot_index);
    copy_to_shared(page, request.key.data(), key_bytes);
    if (placement == Placement::page) {
      copy_to_shared(page + round_up_8(key_bytes), request.value.data(), request.value.size());
    } else {
      poke(line.data[0], request.room.offset);
      poke(line.data[1], request.room.bytes);
    }
  }
  COPYKV_FAULT_POINT("submit.body_written");
  poke(line.value_bytes, static_cast<uint32_t>(request.value_bytes));
  poke(line.user_flags, request.user_flags);
  poke(line.argument, request.argument);
  poke(line.ttl_ms, request.ttl_ms);
  if (!has_key(request.op))
    poke(line.owner, request.daemon);  // else sample_next has its mark there
  publish_head(lane, line,
               {record.seq, static_cast<uint8_t>(request.op),
                static_cast<uint8_t>(static_cast<uint32_t>(placement) |
                                     static_cast<uint32_t>(request.condition) << 2),
                static_cast<uint16_t>(key_bytes)});
}

Status ClientImpl::start_waiting(const Request& request, SlotRef& at) noexcept {
  while (true) {
    const Status status = start(request, 0, Sink::call, at);
    if (status != Status::would_block) return status;
    LaneEnd& lane = lane_of(request);
    // No slot: free one there. No bulk room: an answer anywhere may free some.
    if (!stash_oldest(lane.used == lane.depth ? &lane : nullptr)) return status;
  }
}

bool ClientImpl::attached() noexcept {
  return !broken_ || (options_.reattach && reattach().empty());
}

BulkRoom ClientImpl::reserve_room(uint64_t bytes) noexcept {
  if (bytes == 0 || bytes > connection_.geometry().bulk_bytes_max) return {};
  BulkRoom room = bulk_.allocate(bytes);
  if (room.bytes > 0) return room;
  // Twice what is there, at least enough for this room behind everything else.
  const uint64_t max = connection_.geometry().bulk_bytes_max;
  const uint64_t enough = bulk_.end() + whole_pages(bytes);
  if (bulk_.end() < max) {
    const uint64_t wish = std::max(enough, std::max<uint64_t>(2 * bulk_.end(), 1U << 20));
    bulk_.grow_to(connection_.grow_bulk(std::min(wish, max)));
    room = bulk_.allocate(bytes);
  }
  if (room.bytes == 0) check_daemon();  // a dead one gives no room either, and never will
  return room;
}

}  // namespace copykv
