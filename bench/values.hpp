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

#include <cstdint>
#include <span>
#include <string_view>

namespace copykv::bench {

struct Stamp {
  uint16_t writer = 0;
  uint64_t sequence = 0;  ///< 48 bits are used
};

/// Fills the whole of `value`.
void fill_value(std::span<char> value, uint32_t key_index, Stamp stamp) noexcept;

/// Whether `value` is one that fill_value made for this key.
[[nodiscard]] bool value_is_right(std::string_view value, uint32_t key_index) noexcept;

}  // namespace copykv::bench
