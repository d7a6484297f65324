// SPDX-License-Identifier: Apache-2.0
// Keys of the benchmark: the index in lower-case hexadecimal, right-aligned, filled with '0' on the
// left to --key-bytes. Readable (`copykv get 0000002a`) and made without a division or a table.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace copykv::bench {

/// Indices are 32 bits wide: the value check (values.hpp) relies on it.
inline constexpr uint64_t kKeyRangeMax = uint64_t{1} << 32;

/// Hexadecimal digits that the largest index of `key_range` keys needs.
[[nodiscard]] constexpr uint32_t key_digits(uint64_t key_range) noexcept {
  const uint64_t last = key_range > 0 ? key_range - 1 : 0;
  return (static_cast<uint32_t>(std::bit_width(last | 1)) + 3) / 4;
}

/// The eight hexadecimal digits of `index` as eight characters in memory order.
[[nodiscard]] constexpr uint64_t hex_digits(uint32_t index) noexcept {
  uint64_t nibbles = index;
  nibbles = (nibbles | nibbles << 16) & 0x0000'ffff'0000'ffffULL;
  nibbles = (nibbles | nibbles << 8) & 0x00ff'00ff'00ff'00ffULL;
  nibbles = (nibbles | nibbles << 4) & 0x0f0f'0f0f'0f0f'0f0fULL;
  constexpr uint64_t kOnes = 0x0101'0101'0101'0101ULL;
  const uint64_t is_letter = ((nibbles + 6 * kOnes) >> 4) & kOnes;
  const uint64_t text = nibbles + '0' * kOnes + is_letter * ('a' - '0' - 10);
  return std::endian::native == std::endian::little ? __builtin_bswap64(text) : text;
}

/// The inverse of hex_digits.
[[nodiscard]] constexpr uint32_t index_of_digits(uint64_t digits) noexcept {
  const uint64_t text =
      std::endian::native == std::endian::little ? __builtin_bswap64(digits) : digits;
  constexpr uint64_t kOnes = 0x0101'0101'0101'0101ULL;
  uint64_t nibbles = (text & 15 * kOnes) + 9 * ((text >> 6) & kOnes);  // bit 6: a letter
  nibbles = (nibbles | nibbles >> 4) & 0x00ff'00ff'00ff'00ffULL;
  nibbles = (nibbles | nibbles >> 8) & 0x0000'ffff'0000'ffffULL;
  return static_cast<uint32_t>(nibbles | nibbles >> 16);
}
static_assert(index_of_digits(hex_digits(0)) == 0 &&
              index_of_digits(hex_digits(0x89abcdef)) == 0x89abcdef &&
              index_of_digits(hex_digits(0x01234567)) == 0x01234567);

/// Writes keys of one length. Not thread-safe: one per client.
class KeyText {
 public:
  /// `key_bytes` >= key_digits(key range).
  explicit KeyText(uint32_t key_bytes)
      : key_bytes_(key_bytes), text_(key_bytes < 8 ? 8 : key_bytes, '0') {}

  /// Valid until the next call.
  [[nodiscard]] std::string_view operator()(uint32_t index) noexcept {
    const uint64_t digits = hex_digits(index);
    char* const end = text_.data() + text_.size();
    std::memcpy(end - 8, &digits, 8);
    return {end - key_bytes_, key_bytes_};
  }

 private:
  uint32_t key_bytes_;
  std::vector<char> text_;
};

}  // namespace copykv::bench
