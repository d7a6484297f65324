// SPDX-License-Identifier: Apache-2.0
// Requests and answers between ranks: the payload of copyrpc messages. Little-endian, every part at
// a multiple of 8.
//
//   request   RequestHead (24 B), [where the value stands or may go: 24 B], key, padding, [value]
//   answer    AnswerHead (24 B), [value | sum]
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include <copykv/status.hpp>

#include "copyrpc/fabric/fabric.hpp"
#include "shm/item.hpp"
#include "shm/slot.hpp"

namespace copykv {

struct RemoteRequestHead {
  uint8_t op;
  uint8_t mode;  ///< bits 0-1 Condition, bit 2: a descriptor of the caller's memory follows
  uint16_t key_bytes;
  uint32_t value_bytes;  ///< put: of the value. keys: room for the answer
  uint64_t argument;     ///< where can_be_marked says so: 0, or the mark of a sampled request
  uint32_t user_flags;
  uint32_t ttl_ms;

  /// The first of its three words: all of it that a plain get or put needs.
  [[nodiscard]] static constexpr uint64_t shape_of(Op op, uint32_t key_bytes,
                                                   uint32_t value_bytes) noexcept {
    return uint64_t{static_cast<uint8_t>(op)} | uint64_t{key_bytes} << 16 |
           uint64_t{value_bytes} << 32;
  }
};
static_assert(sizeof(RemoteRequestHead) == 24);
inline constexpr uint8_t kModeCondition = 3;
inline constexpr uint8_t kModeDescriptor = 4;

/// Whether a request has no argument of its own.
[[nodiscard]] constexpr bool can_be_marked(Op op, Condition condition) noexcept {
  return op == Op::get || (op == Op::put && condition != Condition::if_version);
}

struct RemoteAnswerHead {
  uint8_t status;
  uint8_t in_room;  ///< 1: the value was written to the caller's memory
  uint16_t reserved;
  uint32_t value_bytes;
  uint64_t version;
  uint32_t user_flags;
  uint32_t reserved2;

  /// The first of its three words.
  [[nodiscard]] static constexpr uint64_t shape_of(Status status, bool in_room,
                                                   uint32_t value_bytes) noexcept {
    return uint64_t{static_cast<uint8_t>(status)} | uint64_t{in_room} << 8 |
           uint64_t{value_bytes} << 32;
  }
};
static_assert(sizeof(RemoteAnswerHead) == 24);
static_assert(std::bit_cast<std::array<uint64_t, 3>>(RemoteRequestHead{
                  .op = static_cast<uint8_t>(Op::put), .key_bytes = 9, .value_bytes = 5})[0] ==
                  RemoteRequestHead::shape_of(Op::put, 9, 5) &&
              std::bit_cast<std::array<uint64_t, 3>>(RemoteAnswerHead{
                  .status = 1, .in_room = 1, .value_bytes = 5})[0] ==
                  RemoteAnswerHead::shape_of(Status::not_found, true, 5));
static_assert(sizeof(copyrpc::RemoteMemory) == 24);

// Keys and values are 8-byte aligned, and readable and writable to the next multiple of 8. Most are
// of one word, or none: cheaper than a call of memcpy.

inline void copy_key(std::byte* to, const void* from, uint32_t bytes) noexcept {
  std::memcpy(to, from, 8);
  if (bytes > 8) [[unlikely]]
    std::memcpy(to, from, bytes);
}
inline void copy_words(std::byte* to, const void* from, uint32_t bytes) noexcept {
  if (bytes > 8) [[unlikely]] {
    std::memcpy(to, from, bytes);
  } else if (bytes > 0) {
    std::memcpy(to, from, 8);
  }
}

/// The same from memory that others may write.
inline void copy_shared_words(std::byte* to, const uint64_t* from, uint32_t bytes) noexcept {
  if (bytes > 8) [[unlikely]] {
    copy_from_shared(to, from, bytes);
  } else if (bytes > 0) {
    const uint64_t word = peek(*from);
    std::memcpy(to, &word, 8);
  }
}

/// One of the words of a head, or of what stands behind it.
[[nodiscard]] inline uint64_t load_word(const std::byte* from) noexcept {
  uint64_t word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}
inline void store_words(std::byte* to, uint64_t first, uint64_t second, uint64_t third) noexcept {
  std::memcpy(to, &first, 8);
  std::memcpy(to + 8, &second, 8);
  std::memcpy(to + 16, &third, 8);
}

/// The largest of them: a put with the longest key and the longest value that travels inside.
inline constexpr uint32_t kRemoteMessageBytesMax =
    sizeof(RemoteRequestHead) + sizeof(copyrpc::RemoteMemory) + kKeyBytesMax + kInlineValueBytes;

}  // namespace copykv
