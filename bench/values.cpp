// SPDX-License-Identifier: Apache-2.0
#include "bench/values.hpp"

#include <algorithm>
#include <cstring>

#include "base/hash.hpp"

namespace copykv::bench {
namespace {

constexpr size_t kWordBytes = 8;
constexpr size_t kLongBytesMin = 2 * kWordBytes;
constexpr uint64_t kOddStep = 0x9e3779b97f4a7c15ULL;

// The finishers of MurmurHash3 (Appleby, public domain): bijections, which the promises rest on.
constexpr uint32_t mix32(uint32_t x) noexcept {
  x = (x ^ (x >> 16)) * 0x85ebca6bU;
  x = (x ^ (x >> 13)) * 0xc2b2ae35U;
  return x ^ (x >> 16);
}
constexpr uint64_t mix64(uint64_t x) noexcept {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdULL;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

constexpr uint64_t identity(uint32_t key_index, size_t bytes) noexcept {
  return mix64(uint64_t{key_index} | uint64_t{bytes} << 32);
}

// Stamp bits below, check bits above. For one length a bijection of the key, for one key of the
// length, for both of the stamp bits.
uint64_t head_word(uint32_t stamp_bits, uint32_t key_index, size_t bytes) noexcept {
  const uint32_t who = mix32(key_index + static_cast<uint32_t>(bytes) * 0x9e3779b9U);
  return uint64_t{stamp_bits} | uint64_t{mix32(stamp_bits ^ who)} << 32;
}

uint64_t load_word(const char* from) noexcept {
  uint64_t word;
  std::memcpy(&word, from, kWordBytes);
  return word;
}

void fill_long(std::span<char> value, uint32_t key_index, uint64_t stamp_word) noexcept {
  char* to = value.data();
  std::memcpy(to, &stamp_word, kWordBytes);
  const size_t body_end = value.size() - kWordBytes;
  uint64_t word = mix64(stamp_word ^ key_index);
  size_t at = kWordBytes;
  for (; at + kWordBytes <= body_end; at += kWordBytes, word += kOddStep) {
    std::memcpy(to + at, &word, kWordBytes);
  }
  std::memcpy(to + at, &word, body_end - at);
  const uint64_t check = XXH3_64bits(to, body_end) + identity(key_index, value.size());
  std::memcpy(to + body_end, &check, kWordBytes);
}

}  // namespace

void fill_value(std::span<char> value, uint32_t key_index, Stamp stamp) noexcept {
  const size_t bytes = value.size();
  if (bytes < kWordBytes) {
    const uint64_t word = identity(key_index, bytes);
    std::memcpy(value.data(), &word, bytes);
    return;
  }
  const uint64_t stamp_word =
      uint64_t{stamp.writer} << 48 | (stamp.sequence & (~uint64_t{0} >> 16));
  if (bytes >= kLongBytesMin) return fill_long(value, key_index, stamp_word);
  const auto stamp_bits = static_cast<uint32_t>(stamp_word + uint64_t{stamp.writer} * kOddStep);
  const uint64_t head = head_word(stamp_bits, key_index, bytes);
  std::memcpy(value.data(), &head, kWordBytes);
  const uint64_t tail = mix64(head);
  std::memcpy(value.data() + kWordBytes, &tail, bytes - kWordBytes);
}

bool value_is_right(std::string_view value, uint32_t key_index) noexcept {
  const size_t bytes = value.size();
  if (bytes >= kLongBytesMin) {
    const size_t body_end = bytes - kWordBytes;
    const uint64_t check = XXH3_64bits(value.data(), body_end) + identity(key_index, bytes);
    return load_word(value.data() + body_end) == check;
  }
  if (bytes < kWordBytes) {
    const uint64_t word = identity(key_index, bytes);
    return std::memcmp(value.data(), &word, bytes) == 0;
  }
  const uint64_t head = load_word(value.data());
  if (head != head_word(static_cast<uint32_t>(head), key_index, bytes)) return false;
  const uint64_t tail = mix64(head);
  return std::memcmp(value.data() + kWordBytes, &tail, bytes - kWordBytes) == 0;
}

}  // namespace copykv::bench
