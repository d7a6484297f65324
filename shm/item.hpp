// SPDX-License-Identifier: Apache-2.0
// One key with its value, as it stands in the arena.
//
// LAYOUT (bytes; 8-byte aligned, every part padded to 8)
//    0  version        u64
//    8  value_bytes    u32
//   12  key_bytes      u16
//   14  spare          u8
//   15  traits         u8    bit 0 extension, bit 1 stored hash, bit 2 unlinked
//   16  [extension     expires_at_ms u64 (0: never), user_flags u32, pins u32]
//       [hash          u64]
//       key, value
// The extension is there when flags or expiry are set, and always with a value of more than
// kInlineValueBytes, so that touch never copies a large value and pins have a place. The hash is
// there when the key is longer than kRehashKeyBytesMax, so that moving an entry never costs more
// than hashing a short key.
//
// INVARIANTS
//   I1  a large value never changes once its item is linked; it is replaced by another item.
//   I2  an item with pins > 0 keeps its memory; it is freed at the last unpin if it is unlinked.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/atomics.hpp"
#include "base/hash.hpp"
#include "shm/slot.hpp"

namespace copykv {

/// Bytes from the start of the arena region; a multiple of 8; 0: none.
using Offset = uint64_t;

inline constexpr uint32_t kInlineValueBytes = 4096;  ///< larger values move in chunks
inline constexpr uint32_t kRehashKeyBytesMax = 32;

/// Copies bytes into an item, word by word, and pads with zeroes, so that nothing of an earlier
/// item shows. `from` may be shared with a hostile writer: each word is read once. Both are 8-byte
/// aligned, `from` is readable and `to` writable to the next multiple of 8.
inline void copy_padded(std::byte* to, const void* from, uint32_t bytes) noexcept {
  const auto* words = static_cast<const uint64_t*>(from);
  for (; bytes >= 8; bytes -= 8, to += 8) {
    const uint64_t word = peek(*words++);
    std::memcpy(to, &word, 8);
  }
  if (bytes > 0) {
    const uint64_t word = peek(*words) & ((uint64_t{1} << (8 * bytes)) - 1);
    std::memcpy(to, &word, 8);
  }
}

/// A key in private memory, 8-byte aligned and readable up to the next multiple of 8.
struct ItemKey {
  const void* data;
  uint32_t bytes;
  uint64_t hash;  ///< hash_key of the bytes
};

struct ItemExtension {
  uint64_t expires_at_ms;  ///< 0: never
  uint32_t user_flags;
  uint32_t pins;  ///< transfers that read the value now
};
static_assert(sizeof(ItemExtension) == 16);

struct Item {
  static constexpr uint8_t kExtended = 1;
  static constexpr uint8_t kHashed = 2;
  static constexpr uint8_t kUnlinked = 4;

  uint64_t version;
  uint32_t value_bytes;
  uint16_t key_bytes;
  uint8_t spare;
  uint8_t traits;

  /// Bytes before the key.
  [[nodiscard]] static constexpr uint32_t prefix_bytes(uint8_t traits) noexcept {
    return 16U + 16U * (traits & kExtended) + 4U * (traits & kHashed);
  }
  [[nodiscard]] static constexpr uint64_t bytes_of(uint32_t key_bytes, uint32_t value_bytes,
                                                   uint8_t traits) noexcept {
    return uint64_t{prefix_bytes(traits)} + round_up_8(key_bytes) +
           ((uint64_t{value_bytes} + 7) & ~uint64_t{7});
  }
  /// The traits of a new item.
  [[nodiscard]] static constexpr uint8_t traits_of(uint32_t key_bytes, uint32_t value_bytes,
                                                   bool flags_or_expiry) noexcept {
    return static_cast<uint8_t>(
        (flags_or_expiry || value_bytes > kInlineValueBytes ? kExtended : 0) |
        (key_bytes > kRehashKeyBytesMax ? kHashed : 0));
  }

  [[nodiscard]] uint64_t bytes() const noexcept { return bytes_of(key_bytes, value_bytes, traits); }
  [[nodiscard]] bool extended() const noexcept { return (traits & kExtended) != 0; }
  [[nodiscard]] bool large() const noexcept { return value_bytes > kInlineValueBytes; }

  [[nodiscard]] std::byte* at(uint64_t offset) noexcept {
    return reinterpret_cast<std::byte*>(this) + offset;
  }
  [[nodiscard]] const std::byte* at(uint64_t offset) const noexcept {
    return reinterpret_cast<const std::byte*>(this) + offset;
  }
  [[nodiscard]] ItemExtension& extension() noexcept {
    return *reinterpret_cast<ItemExtension*>(at(16));
  }
  [[nodiscard]] const ItemExtension& extension() const noexcept {
    return *reinterpret_cast<const ItemExtension*>(at(16));
  }
  [[nodiscard]] std::byte* key() noexcept { return at(prefix_bytes(traits)); }
  [[nodiscard]] const std::byte* key() const noexcept { return at(prefix_bytes(traits)); }
  [[nodiscard]] std::byte* value() noexcept { return key() + round_up_8(key_bytes); }
  [[nodiscard]] const std::byte* value() const noexcept { return key() + round_up_8(key_bytes); }
  [[nodiscard]] std::string_view key_view() const noexcept {
    return {reinterpret_cast<const char*>(key()), key_bytes};
  }

  [[nodiscard]] uint32_t user_flags() const noexcept {
    return extended() ? extension().user_flags : 0;
  }
  [[nodiscard]] uint64_t expires_at_ms() const noexcept {
    return extended() ? extension().expires_at_ms : 0;
  }
  [[nodiscard]] bool expired(uint64_t now_ms) const noexcept {
    if (!extended()) [[likely]]
      return false;
    const uint64_t at_ms = extension().expires_at_ms;
    return at_ms != 0 && now_ms >= at_ms;
  }

  [[nodiscard]] uint64_t hash() const noexcept {
    if ((traits & kHashed) == 0) return hash_key(key_view());
    uint64_t stored;
    std::memcpy(&stored, key() - 8, 8);
    return stored;
  }
  void store_hash(uint64_t hash) noexcept {
    if ((traits & kHashed) != 0) std::memcpy(key() - 8, &hash, 8);
  }

  /// The value if the key is `wanted`, else nullptr. Compares word by word: both sides are 8-byte
  /// aligned and padded (the padding is not compared).
  [[nodiscard]] const std::byte* value_of(const ItemKey& wanted) const noexcept {
    uint32_t shape;
    std::memcpy(&shape, &key_bytes, 4);
    const std::byte* mine = at(16);
    if (shape != wanted.bytes) {  // equal: no spare, no traits, the same length; the common case
      if (key_bytes != wanted.bytes) return nullptr;
      mine = key();
    }
    const auto* theirs = static_cast<const std::byte*>(wanted.data);
    uint32_t left = wanted.bytes;
    for (; left > 8; left -= 8, mine += 8, theirs += 8) {
      if (load_word(mine) != load_word(theirs)) return nullptr;
    }
    const uint64_t difference = load_word(mine) ^ load_word(theirs);
    return difference << (64 - 8 * left) == 0 ? mine + 8 : nullptr;
  }

  /// Whether the key is `wanted` and nothing stands between header and key: no flags, no expiry, a
  /// short key, a small value.
  [[nodiscard]] bool is_plain(const ItemKey& wanted) const noexcept {
    uint32_t shape;
    std::memcpy(&shape, &key_bytes, 4);
    if (shape != wanted.bytes) return false;
    const std::byte* mine = at(16);
    const auto* theirs = static_cast<const std::byte*>(wanted.data);
    // The usual key: no shifts.
    if (shape == 8 && load_word(mine) == load_word(theirs)) [[likely]]
      return true;
    uint32_t left = shape;
    for (; left > 8; left -= 8, mine += 8, theirs += 8) {
      if (load_word(mine) != load_word(theirs)) return false;
    }
    return (load_word(mine) ^ load_word(theirs)) << (64 - 8 * left) == 0;
  }

 private:
  [[nodiscard]] static uint64_t load_word(const std::byte* from) noexcept {
    uint64_t word;
    std::memcpy(&word, from, 8);
    return word;
  }
};
static_assert(sizeof(Item) == 16 && alignof(Item) == 8);
static_assert(offsetof(Item, key_bytes) == 12 && offsetof(Item, traits) == 15 &&
                  std::endian::native == std::endian::little,
              "value_of reads length, spare and traits as one word");
static_assert(Item::kExtended == 1 && Item::kHashed == 2, "prefix_bytes multiplies by the bits");

}  // namespace copykv
