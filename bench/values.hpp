// SPDX-License-Identifier: Apache-2.0
// Values that any reader can check without knowing who wrote them: derived from the key, the
// writer and the writer's sequence number, which together are the stamp.
//
// FORM      0..7 B   bytes of a mix of (key index, length): the same for every writer
//           8..15 B  [0] 32 bits of the stamp, [4] check = mix(those 32 bits, key index, length),
//                    [8] bytes of a mix of the first eight
//           16.. B   [0] stamp, [8] words that all differ from stamp to stamp,
//                    last eight: XXH3_64(all before) + mix(key index, length)
// CATCHES   every corruption of a single byte, and a whole value of another key (8 B and more), for
//           certain: below 16 B each part is a bijection of the others, and from 16 B on up to
//           XXH3's 2^-64. A mix of two versions: 8..15 B torn at byte 4 or 8 for certain, anywhere
//           else but for 2^-32; 16 B and more but for 2^-64. Below 8 B another key's value passes
//           with 2^-(8 x length), and there are no versions to mix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace copykv::bench {

struct Stamp {
  uint16_t writer = 0;
  uint64_t sequence = 0;  ///< 48 bits are used
};

/// Fills the whole of `value`.
inline void fill_value(std::span<char> value, uint32_t key_index, Stamp stamp) noexcept;

/// Whether `value` is one that fill_value made for this key.
[[nodiscard]] inline bool value_is_right(std::string_view value, uint32_t key_index) noexcept;

// ---- below: the eight-byte form inline, since it is what the fastest loads use

namespace value_form {

inline constexpr size_t kWordBytes = 8;

// The finisher of MurmurHash3 (Appleby, public domain): a bijection, which the promises rest on.
constexpr uint32_t mix32(uint32_t x) noexcept {
  x = (x ^ (x >> 16)) * 0x85ebca6bU;
  x = (x ^ (x >> 13)) * 0xc2b2ae35U;
  return x ^ (x >> 16);
}

constexpr uint64_t stamp_word(Stamp stamp) noexcept {
  return uint64_t{stamp.writer} << 48 | (stamp.sequence & (~uint64_t{0} >> 16));
}

// Different writers start far apart.
constexpr uint32_t stamp_bits(Stamp stamp) noexcept {
  return static_cast<uint32_t>(stamp.sequence) + stamp.writer * 0x9e3779b9U;
}

// Stamp bits below, check bits above. For one length a bijection of the key, for one key of the
// length, for both of the stamp bits.
constexpr uint64_t head_word(uint32_t stamp_bits, uint32_t key_index, size_t bytes) noexcept {
  const uint32_t who = mix32(key_index + static_cast<uint32_t>(bytes) * 0x9e3779b9U);
  return uint64_t{stamp_bits} | uint64_t{mix32(stamp_bits ^ who)} << 32;
}

void fill(std::span<char> value, uint32_t key_index, Stamp stamp) noexcept;
[[nodiscard]] bool is_right(std::string_view value, uint32_t key_index) noexcept;

}  // namespace value_form

inline void fill_value(std::span<char> value, uint32_t key_index, Stamp stamp) noexcept {
  if (value.size() != value_form::kWordBytes) return value_form::fill(value, key_index, stamp);
  const uint64_t head =
      value_form::head_word(value_form::stamp_bits(stamp), key_index, value_form::kWordBytes);
  std::memcpy(value.data(), &head, value_form::kWordBytes);
}

inline bool value_is_right(std::string_view value, uint32_t key_index) noexcept {
  if (value.size() != value_form::kWordBytes) return value_form::is_right(value, key_index);
  uint64_t head;
  std::memcpy(&head, value.data(), value_form::kWordBytes);
  return head ==
         value_form::head_word(static_cast<uint32_t>(head), key_index, value_form::kWordBytes);
}

}  // namespace copykv::bench
