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

/// One request of a group.
struct alignas(kCacheLineBytes) Pending {
  Lane* lane;
  uint32_t slot;
  uint32_t seq;
  uint8_t op;
  uint8_t placement;
  uint8_t condition;
  Status status;  ///< ok, or why it is refused unread
  uint32_t key_bytes;
  uint32_t value_bytes;  ///< put: of the value
  uint32_t user_flags;
  uint64_t argument;
  uint32_t ttl_ms;
  uint64_t room_bytes;  ///< bulk: bytes of the room
  std::byte* memory;    ///< put: the value, 8-byte aligned. bulk get and keys: the room
  ItemKey key;
  Probe probe;
  uint64_t line_key[kRequestLineDataBytes / 8];  ///< a key that came in the line

  [[nodiscard]] Ticket ticket() const noexcept { return {lane->setup.id, slot, seq}; }
};

struct RequestLimits {
  uint32_t value_bytes_max = kValueBytesMaxDefault;
};

/// Copies and checks the request in `lane`'s next slot, whose head word was observed as `head`.
/// `key_room` has kKeyBytesMax bytes, 8-byte aligned, and takes a key that does not stand in the
/// line. Everything in `pending` but `probe` is filled; pending.status says whether it may be
/// executed.
void read_request(Lane& lane, uint64_t head, const RequestLimits& limits, std::byte* key_room,
                  Pending& pending) noexcept;

}  // namespace copykv
