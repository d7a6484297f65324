// SPDX-License-Identifier: Apache-2.0
// From a request line in shared memory to a checked private copy.
//
// A line is read once, word by word (base/atomics.hpp), and only what its operation needs; checks
// and execution use the copy. Values are not copied here: they are opaque, and the store reads them
// once, straight from the segment.
#pragma once

#include <cstddef>
#include <cstdint>

#include <copykv/status.hpp>

#include "daemon/lane.hpp"
#include "shm/fast_map.hpp"
#include "shm/item.hpp"

namespace copykv {

inline constexpr uint32_t kGroupMax = 16;

/// One request of a group. A plain get fills the first part only; widen() does the rest.
struct alignas(kCacheLineBytes) Pending {
  Lane* lane;
  Slot* slot;
  uint32_t seq;
  bool plain_get;  ///< a get with its key in the line, of a key that this daemon owns
  ItemKey key;
  Probe probe;
  uint64_t line_key[kRequestLineDataBytes / 8];  ///< a key that came in the line

  uint8_t op;
  uint8_t placement;
  uint8_t condition;
  Status status;         ///< ok, or why it is refused unread
  uint32_t value_bytes;  ///< put: of the value
  uint32_t user_flags;
  uint64_t argument;
  uint32_t ttl_ms;
  uint64_t room_bytes;  ///< bulk: bytes of the room
  std::byte* memory;    ///< put: the value, 8-byte aligned. bulk get and keys: the room

  [[nodiscard]] uint32_t slot_index() const noexcept {
    return static_cast<uint32_t>(slot - lane->slots);
  }
  [[nodiscard]] Ticket ticket() const noexcept { return {lane->setup.id, slot_index(), seq}; }
  /// Completes a plain get that turned out to need more than the plain path.
  void widen() noexcept {
    op = static_cast<uint8_t>(Op::get);
    placement = static_cast<uint8_t>(Placement::line);
    condition = 0;
    status = Status::ok;
    room_bytes = 0;
    memory = nullptr;
  }
};

struct RequestLimits {
  uint32_t value_bytes_max = kValueBytesMaxDefault;
};

/// Copies and checks the request in `lane`'s next slot, whose head word was observed as `head`.
/// `key_room` has kKeyBytesMax bytes, 8-byte aligned, and takes a key that does not stand in the
/// line. Everything in `pending` but `probe` is filled; pending.status says whether it may be
/// executed.
/// Kept apart from the plain get, which is what most requests are.
[[gnu::noinline]] void read_request(Lane& lane, uint64_t head, const RequestLimits& limits,
                                    std::byte* key_room, Pending& pending) noexcept;

/// The head word of a get with its key in the line, but for sequence and key length.
[[nodiscard]] constexpr bool is_plain_get(uint64_t head) noexcept {
  const uint64_t key_bytes = head >> 48;
  return static_cast<uint16_t>(head >> 32) == static_cast<uint16_t>(Op::get) && key_bytes - 1 < 32;
}
static_assert(is_plain_get(RequestHead{7, static_cast<uint8_t>(Op::get), 0, 32}.pack()) &&
              !is_plain_get(RequestHead{7, static_cast<uint8_t>(Op::get), 0, 33}.pack()) &&
              !is_plain_get(RequestHead{7, static_cast<uint8_t>(Op::get), 0, 0}.pack()) &&
              !is_plain_get(RequestHead{7, static_cast<uint8_t>(Op::get), 1, 8}.pack()));

/// The head word of the most usual request, a get of an 8-byte key, at sequence `seq`: one compare
/// tells it, and a length known here makes its hash straight code.
[[nodiscard]] constexpr uint64_t plain_get_of_8(uint32_t seq) noexcept {
  return RequestHead{seq, static_cast<uint8_t>(Op::get), 0, 8}.pack();
}

/// read_request for what is_plain_get: nothing is left to check.
inline void read_plain_get(Lane& lane, uint32_t seq, uint32_t key_bytes, Slot& slot,
                           Pending& p) noexcept {
  p.lane = &lane;
  p.slot = &slot;
  p.seq = seq;
  p.key.data = p.line_key;
  p.key.bytes = key_bytes;
  p.line_key[0] = peek(slot.request.data[0]);
  if (key_bytes > 8) {
    // All words: cheaper than a loop, and what stands behind the key is not looked at.
    p.line_key[1] = peek(slot.request.data[1]);
    p.line_key[2] = peek(slot.request.data[2]);
    p.line_key[3] = peek(slot.request.data[3]);
  }
  p.key.hash = hash_key({reinterpret_cast<const char*>(p.line_key), key_bytes});
}

}  // namespace copykv
