// SPDX-License-Identifier: Apache-2.0
// Bytes of a ring by position. A position only grows; the ring shows its last `bytes` of them. A
// message may run over the end of the memory and go on at its start: nothing is ever filled up, so
// every byte of credit is a byte of message. Positions are multiples of 16: headers of messages are
// never split.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace copyrpc {

struct RingView {
  std::byte* base = nullptr;
  uint32_t bytes = 0;  ///< a power of two

  [[nodiscard]] uint32_t offset_of(uint64_t position) const noexcept {
    return static_cast<uint32_t>(position) & (bytes - 1);
  }
  /// Bytes from here to the end of the memory.
  [[nodiscard]] uint32_t straight_bytes(uint64_t position) const noexcept {
    return bytes - offset_of(position);
  }
  [[nodiscard]] bool wraps(uint64_t position, uint32_t count) const noexcept {
    return count > straight_bytes(position);
  }
  [[nodiscard]] std::byte* at(uint64_t position) const noexcept {
    return base + offset_of(position);
  }
  /// A structure of 16 bytes, which is never split.
  template <class T>
  [[nodiscard]] T get(uint64_t position) const noexcept {
    static_assert(sizeof(T) == 16);
    T value;
    std::memcpy(&value, at(position), sizeof(T));
    return value;
  }
  void copy_in(uint64_t position, const void* from, uint32_t count) const noexcept {
    const uint32_t first = std::min(count, straight_bytes(position));
    std::memcpy(at(position), from, first);
    if (first < count) [[unlikely]]
      std::memcpy(base, static_cast<const std::byte*>(from) + first, count - first);
  }
  void copy_out(uint64_t position, void* to, uint32_t count) const noexcept {
    const uint32_t first = std::min(count, straight_bytes(position));
    std::memcpy(to, at(position), first);
    if (first < count) [[unlikely]]
      std::memcpy(static_cast<std::byte*>(to) + first, base, count - first);
  }
};

}  // namespace copyrpc
