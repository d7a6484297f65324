// SPDX-License-Identifier: Apache-2.0
#include "daemon/request.hpp"

namespace copykv {
namespace {

/// Everything but the bulk area: lengths against the place where they stand.
[[nodiscard]] Status check_shape(const Pending& p, uint8_t mode, const Lane& lane,
                                 const RequestLimits& limits) noexcept {
  if (p.op < kOpFirst || p.op > kOpLast) return Status::unsupported;
  if (mode >= 16 || p.placement > static_cast<uint8_t>(Placement::bulk)) return Status::bad_request;
  const bool is_put = p.op == static_cast<uint8_t>(Op::put);
  if (!is_put && p.condition != 0) return Status::bad_request;
  if (has_key(static_cast<Op>(p.op))) {
    if (p.key.bytes == 0 || p.key.bytes > kKeyBytesMax) return Status::invalid_key;
  } else if (p.key.bytes != 0) {
    return Status::bad_request;
  }
  const uint64_t value_bytes = is_put ? p.value_bytes : 0;
  if (value_bytes > limits.value_bytes_max) return Status::value_too_large;
  const uint64_t needed = round_up_8(p.key.bytes) + value_bytes;
  switch (static_cast<Placement>(p.placement)) {
    case Placement::line:
      return needed <= kRequestLineDataBytes ? Status::ok : Status::bad_request;
    case Placement::page:
      return needed <= lane.setup.slot_payload_bytes ? Status::ok : Status::bad_request;
    case Placement::bulk:  // the key is at most 1,024 B and always fits the page
      return is_put || p.op == static_cast<uint8_t>(Op::get) ||
                     p.op == static_cast<uint8_t>(Op::keys)
                 ? Status::ok
                 : Status::bad_request;
  }
  return Status::bad_request;
}

/// Reads offset and length of a room and checks that it lies in the granted part of the bulk area.
[[nodiscard]] Status read_room(const RequestLine& line, const Lane& lane, Pending& p) noexcept {
  const uint64_t offset = peek(line.data[0]);
  p.room_bytes = peek(line.data[1]);
  const uint64_t granted = observe(*lane.setup.bulk_bytes_granted);
  if (offset % 8 != 0 || p.room_bytes % 8 != 0 || offset > granted ||
      p.room_bytes > granted - offset) {
    return Status::bad_request;
  }
  if (p.op == static_cast<uint8_t>(Op::put) && p.value_bytes > p.room_bytes) {
    return Status::bad_request;
  }
  p.memory = lane.setup.bulk + offset;
  return Status::ok;
}

}  // namespace

void read_request(Lane& lane, uint64_t head, const RequestLimits& limits, std::byte* key_room,
                  Pending& p) noexcept {
  const RequestHead parts = RequestHead::unpack(head);
  const RequestLine& line = lane.slots[lane.next_slot].request;
  p.lane = &lane;
  p.slot = &lane.slots[lane.next_slot];
  p.seq = parts.seq;
  p.op = parts.op;
  p.placement = parts.mode & 3;
  p.condition = (parts.mode >> 2) & 3;
  p.key = {p.line_key, parts.key_bytes, 0};
  p.room_bytes = 0;
  p.memory = nullptr;
  p.path = Path::general;
  p.value_bytes = peek(line.value_bytes);
  p.user_flags = peek(line.user_flags);
  p.argument = peek(line.argument);
  p.ttl_ms = peek(line.ttl_ms);
  p.owner = peek(line.owner);
  p.status = check_shape(p, parts.mode, lane, limits);
  if (p.status != Status::ok) [[unlikely]]
    return;

  if (p.placement == static_cast<uint8_t>(Placement::line)) {
    copy_from_shared(p.line_key, line.data, round_up_8(p.key.bytes));
    if (p.op == static_cast<uint8_t>(Op::put)) {
      p.memory = reinterpret_cast<std::byte*>(
          const_cast<uint64_t*>(line.data + round_up_8(p.key.bytes) / 8));
    }
  } else {
    std::byte* page = lane.payload_of(p.slot_index());
    copy_from_shared(key_room, page, round_up_8(p.key.bytes));
    p.key.data = key_room;
    p.memory = page + round_up_8(p.key.bytes);
    if (p.placement == static_cast<uint8_t>(Placement::bulk)) {
      p.status = read_room(line, lane, p);
      if (p.status != Status::ok) return;
    }
  }
  if (p.key.bytes > 0) {
    p.key.hash = hash_key({static_cast<const char*>(p.key.data), p.key.bytes});
  }
}

}  // namespace copykv
