// SPDX-License-Identifier: Apache-2.0
// One outstanding operation of one client.
//
// LAYOUT (bytes from slot start; pinned by the static_asserts below)
//     0  request line    written by the client only     64
//   128  response line   written by the daemon only     64
// The lines stand 128 B apart because the prefetcher fetches line pairs: 64 B would ping-pong.
//
// PROTOCOL                                                             order     pairs with
//   client  fill words 1..7, then publish word 0 (seq n)               release   [A]
//   daemon  observe word 0: seq == n; copy the line; check the copy    acquire   [A]
//   daemon  fill words 1..7, then publish word 0 (the ticket's seq)    release   [B]
//   client  observe word 0: seq == n; read the body                    acquire   [B]
//   sleeping: shm/wake.hpp                                                       [C] [D]
//
// INVARIANTS
//   I1  seq grows by 1 (modulo 2^32); at most one request is outstanding per slot.
//   I2  an answer is stamped from the ticket taken at dispatch, never from shared memory.
//   I3  the daemon decides from its private tables and its copy of the line; shared words are
//   input. I4  a slot's payload page belongs to the client until it publishes, then to the daemon
//   until it
//       answers.
// TRUST      the client may write anything here at any time (docs/protocol.md, Trust).
// COST       one line transfer each way while key and value fit the lines.
// PROVED BY  tests/unit/shm/slot_test (layout, I1), tests/model (I1, I2, sleeping),
//            tests/storm (all), tests/fuzz/request_line (I3).
#pragma once

#include <cstddef>
#include <cstdint>

#include <copykv/status.hpp>

#include "base/atomics.hpp"

namespace copykv {

enum class Op : uint8_t {
  get = 1,     ///< value, version and user flags of a key
  put = 2,     ///< stores a value, under a Condition
  del = 3,     ///< removes a key
  exists = 4,  ///< version and value size of a key, without the value
  add = 5,     ///< adds the signed 64-bit `argument` to a decimal value; the answer is the sum
  touch = 6,   ///< replaces the expiry by ttl_ms (0: never)
  keys = 7,    ///< one page of key names, from cursor `argument`; the answer's version is the next
  ping = 8,    ///< answered at once
};
inline constexpr uint8_t kOpFirst = 1;
inline constexpr uint8_t kOpLast = 8;

[[nodiscard]] constexpr bool has_key(Op op) noexcept {
  return op != Op::keys && op != Op::ping;
}
/// Whether an operation whose answer is lost may have changed something.
[[nodiscard]] constexpr bool is_write(Op op) noexcept {
  return op == Op::put || op == Op::del || op == Op::add || op == Op::touch;
}

/// What must hold for a put to happen.
enum class Condition : uint8_t {
  always = 0,
  if_absent = 1,
  if_present = 2,
  if_version = 3,  ///< the stored version equals `argument`
};

/// Where key and value of a request, or the value of a response, stand.
enum class Placement : uint8_t {
  line = 0,  ///< in the line itself
  page = 1,  ///< in the slot's payload page(s): the key, padded to 8 bytes, then the value
  bulk =
      2,  ///< the key in the payload page, the value in the bulk area (data words: offset, bytes)
};

inline constexpr uint32_t kKeyBytesMax = 1024;
inline constexpr uint32_t kValueBytesMaxDefault = 16U << 20;
inline constexpr uint32_t kRequestLineDataBytes = 32;
inline constexpr uint32_t kResponseLineDataBytes = 40;
inline constexpr uint32_t kSlotStrideBytes = 256;
inline constexpr uint32_t kQueueDepthMax = 64;

/// Word 0 of both lines: the publication word, so that sequence and shape arrive together.
///   request    bits 0-31 seq, 32-39 op, 40-41 placement, 42-43 condition, 48-63 key_bytes
///   response   bits 0-31 seq, 32-39 status, 40-41 placement
struct RequestHead {
  uint32_t seq;
  uint8_t op;
  uint8_t mode;  ///< bits 0-1 Placement, bits 2-3 Condition, the rest 0
  uint16_t key_bytes;

  [[nodiscard]] constexpr uint64_t pack() const noexcept {
    return uint64_t{seq} | uint64_t{op} << 32 | uint64_t{mode} << 40 | uint64_t{key_bytes} << 48;
  }
  [[nodiscard]] static constexpr RequestHead unpack(uint64_t word) noexcept {
    return {static_cast<uint32_t>(word), static_cast<uint8_t>(word >> 32),
            static_cast<uint8_t>(word >> 40), static_cast<uint16_t>(word >> 48)};
  }
};

/// What a daemon knows of a request: its private, checked-before-use copy of the line.
struct alignas(kCacheLineBytes) RequestLine {
  uint64_t head;         ///< RequestHead::pack; published last                               word 0
  uint32_t value_bytes;  ///< put: length of the value. get, keys: room for the answer        word 1
  uint32_t user_flags;   ///< put: stored with the item
  uint64_t argument;     ///< put if_version: version. add: delta. keys: cursor               word 2
  uint32_t ttl_ms;       ///< put, touch: life from now in milliseconds; 0: never expires     word 3
  uint32_t owner;        ///< keys, ping: whose, as an index into RankHeader::owners. Operations
                         ///< with a key: the sequence of the head, if the request is sampled
  uint64_t data[4];      ///< line: key, then value. bulk: [0] offset, [1] bytes of the room  word 4
};

struct alignas(kCacheLineBytes) ResponseLine {
  uint64_t head;         ///< seq, status, placement; published last                          word 0
  uint32_t value_bytes;  ///< length of the value, also when it did not fit                   word 1
  uint32_t user_flags;
  uint64_t version;  ///< of the item after the operation; 0: no item                         word 2
  uint64_t data[5];  ///< line: the value. add: the sum as a signed 64-bit integer            word 3
};

// Aligned to a line, not to its stride: page colouring (shm/segment.hpp) shifts whole lanes by
// lines.
struct alignas(kCacheLineBytes) Slot {
  RequestLine request;
  unsigned char gap0[64];
  ResponseLine response;
  unsigned char gap1[64];
};

static_assert(sizeof(RequestLine) == 64 && sizeof(ResponseLine) == 64);
static_assert(offsetof(RequestLine, value_bytes) == 8 && offsetof(RequestLine, argument) == 16 &&
              offsetof(RequestLine, ttl_ms) == 24 && offsetof(RequestLine, data) == 32);
static_assert(offsetof(ResponseLine, value_bytes) == 8 && offsetof(ResponseLine, version) == 16 &&
              offsetof(ResponseLine, data) == 24);
static_assert(offsetof(Slot, response) == 128 && sizeof(Slot) == kSlotStrideBytes);

[[nodiscard]] constexpr uint32_t head_seq(uint64_t head) noexcept {
  return static_cast<uint32_t>(head);
}
[[nodiscard]] constexpr uint64_t response_head(uint32_t seq, Status status,
                                               Placement placement) noexcept {
  return uint64_t{seq} | uint64_t{static_cast<uint8_t>(status)} << 32 |
         uint64_t{static_cast<uint8_t>(placement)} << 40;
}
[[nodiscard]] constexpr Status response_status(uint64_t head) noexcept {
  return static_cast<Status>(static_cast<uint8_t>(head >> 32));
}
[[nodiscard]] constexpr Placement response_placement(uint64_t head) noexcept {
  return static_cast<Placement>((head >> 40) & 3);
}
[[nodiscard]] constexpr uint32_t round_up_8(uint32_t bytes) noexcept {
  return (bytes + 7U) & ~7U;
}

}  // namespace copykv
