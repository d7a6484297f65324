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

/// How a request is served. Plain: key (and value) in the line, no condition, flags or expiry;
/// remote: plain, with a key of another rank. What one of these paths cannot serve after all goes
/// the general way.
enum class Path : uint8_t { general, plain_get, plain_put, remote_get, remote_put };

[[nodiscard]] constexpr bool is_remote(Path path) noexcept {
  return path >= Path::remote_get;
}
static_assert(static_cast<uint8_t>(Path::remote_get) == static_cast<uint8_t>(Path::plain_get) + 2 &&
              static_cast<uint8_t>(Path::remote_put) == static_cast<uint8_t>(Path::plain_put) + 2);
[[nodiscard]] constexpr bool is_put(Path path) noexcept {
  return path == Path::plain_put || path == Path::remote_put;
}

/// One request of a group. A plain request fills the first part only; widen() does the rest.
struct alignas(kCacheLineBytes) Pending {
  Lane* lane;
  Slot* slot;
  uint32_t seq;
  Path path;
  uint32_t value_bytes;  ///< put: of the value
  ItemKey key;
  Probe probe;
  uint64_t line_key[kRequestLineDataBytes / 8];  ///< a key that came in the line

  uint8_t op;
  uint8_t placement;
  uint8_t condition;
  Status status;  ///< ok, or why it is refused unread
  uint32_t user_flags;
  uint64_t argument;
  uint32_t ttl_ms;
  uint32_t owner;       ///< keys, ping: whose. Else set when it is another rank's
  uint64_t room_bytes;  ///< bulk: bytes of the room
  std::byte* memory;    ///< put: the value, 8-byte aligned. bulk get and keys: the room

  [[nodiscard]] uint32_t slot_index() const noexcept {
    return static_cast<uint32_t>(slot - lane->slots);
  }
  [[nodiscard]] Ticket ticket() const noexcept { return {lane->setup.id, slot_index(), seq}; }
  /// Where the value of a put stands in the line, behind the key.
  [[nodiscard]] uint64_t* line_value() const noexcept {
    return &slot->request.data[round_up_8(key.bytes) / 8];
  }
  /// The key is another rank's.
  void set_remote(uint32_t at) noexcept {
    owner = at;
    path = static_cast<Path>(static_cast<uint8_t>(path) + 2);
  }
  /// Completes a plain request that turned out to need more than its path.
  void widen() noexcept {
    const bool with_value = is_put(path);
    path = Path::general;
    op = static_cast<uint8_t>(with_value ? Op::put : Op::get);
    placement = static_cast<uint8_t>(Placement::line);
    condition = static_cast<uint8_t>(Condition::always);
    status = Status::ok;
    user_flags = 0;
    argument = 0;
    ttl_ms = 0;
    room_bytes = 0;
    memory = with_value ? reinterpret_cast<std::byte*>(line_value()) : nullptr;
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

/// Whether a head word, but for its sequence, is that of `op` with a key in the line and mode 0.
[[nodiscard]] constexpr bool is_plain(uint64_t head, Op op) noexcept {
  return static_cast<uint16_t>(head >> 32) == static_cast<uint16_t>(op) && (head >> 48) - 1 < 32;
}
static_assert(is_plain(RequestHead{7, static_cast<uint8_t>(Op::get), 0, 32}.pack(), Op::get) &&
              !is_plain(RequestHead{7, static_cast<uint8_t>(Op::get), 0, 33}.pack(), Op::get) &&
              !is_plain(RequestHead{7, static_cast<uint8_t>(Op::get), 0, 0}.pack(), Op::get) &&
              !is_plain(RequestHead{7, static_cast<uint8_t>(Op::get), 1, 8}.pack(), Op::get) &&
              !is_plain(RequestHead{7, static_cast<uint8_t>(Op::put), 0, 8}.pack(), Op::get));

/// The head word of the most usual requests, of 8-byte keys, without its sequence: one compare
/// tells them, and a length known here makes straight code.
[[nodiscard]] constexpr uint64_t plain_of_8(Op op) noexcept {
  return RequestHead{0, static_cast<uint8_t>(op), 0, 8}.pack();
}

/// The part that plain gets and puts share.
inline void read_plain(Lane& lane, uint32_t seq, uint32_t key_bytes, Slot& slot, Path path,
                       Pending& p) noexcept {
  p.lane = &lane;
  p.slot = &slot;
  p.seq = seq;
  p.path = path;
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

/// read_plain for a put. False: it has flags or an expiry, or is too long: read_request.
[[nodiscard]] inline bool read_plain_put(Lane& lane, uint32_t key_bytes,
                                         const RequestLimits& limits, Slot& slot,
                                         Pending& p) noexcept {
  p.value_bytes = peek(slot.request.value_bytes);
  if (p.value_bytes > kRequestLineDataBytes - round_up_8(key_bytes) ||
      p.value_bytes > limits.value_bytes_max ||
      (peek(slot.request.user_flags) | peek(slot.request.ttl_ms)) != 0) {
    return false;
  }
  read_plain(lane, lane.seq, key_bytes, slot, Path::plain_put, p);
  return true;
}

}  // namespace copykv
