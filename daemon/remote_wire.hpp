// SPDX-License-Identifier: Apache-2.0
// Requests and answers between ranks: the payload of copyrpc messages. Little-endian, every part at
// a multiple of 8.
//
//   request   RequestHead (24 B), [where the value stands or may go: 24 B], key, padding, [value]
//   answer    AnswerHead (24 B), [value | sum]
#pragma once

#include <cstdint>
#include <cstring>

#include "copyrpc/fabric/fabric.hpp"
#include "shm/item.hpp"
#include "shm/slot.hpp"

namespace copykv {

struct RemoteRequestHead {
  uint8_t op;
  uint8_t mode;  ///< bits 0-1 Condition, bit 2: a descriptor of the caller's memory follows
  uint16_t key_bytes;
  uint32_t value_bytes;  ///< put: of the value. keys: room for the answer
  uint64_t argument;
  uint32_t user_flags;
  uint32_t ttl_ms;
};
static_assert(sizeof(RemoteRequestHead) == 24);
inline constexpr uint8_t kModeCondition = 3;
inline constexpr uint8_t kModeDescriptor = 4;

struct RemoteAnswerHead {
  uint8_t status;
  uint8_t in_room;  ///< 1: the value was written to the caller's memory
  uint16_t reserved;
  uint32_t value_bytes;
  uint64_t version;
  uint32_t user_flags;
  uint32_t reserved2;
};
static_assert(sizeof(RemoteAnswerHead) == 24);
static_assert(sizeof(copyrpc::RemoteMemory) == 24);

/// Keys are 8-byte aligned, and readable and writable to the next multiple of 8. Most are of 8
/// bytes: words cost less than a call of memcpy.
inline void copy_key(std::byte* to, const void* from, uint32_t bytes) noexcept {
  const auto* source = static_cast<const std::byte*>(from);
  if (bytes > 64) [[unlikely]] {
    std::memcpy(to, from, round_up_8(bytes));
    return;
  }
  for (uint32_t done = 0; done < bytes; done += 8) std::memcpy(to + done, source + done, 8);
}

/// The largest of them: a put with the longest key and the longest value that travels inside.
inline constexpr uint32_t kRemoteMessageBytesMax =
    sizeof(RemoteRequestHead) + sizeof(copyrpc::RemoteMemory) + kKeyBytesMax + kInlineValueBytes;

}  // namespace copykv
