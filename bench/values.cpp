// SPDX-License-Identifier: Apache-2.0
#include "bench/values.hpp"

#include <cstring>

#include "base/hash.hpp"

namespace copykv::bench::value_form {
namespace {

constexpr size_t kLongBytesMin = 2 * kWordBytes;
constexpr uint64_t kOddStep = 0x9e3779b97f4a7c15ULL;

// As mix32, for 64 bits.
constexpr uint64_t mix64(uint64_t x) noexcept {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdULL;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

constexpr uint64_t identity(uint32_t key_index, size_t bytes) noexcept {
  return mix64(uint64_t{key_index} | uint64_t{bytes} << 32);
}

uint64_t load_word(const char* from) noexcept {
  uint64_t word;
  std::memcpy(&word, from, kWordBytes);
  return word;
}

void fill_long(std::span<char> value, uint32_t key_index, uint64_t stamp) noexcept {
  char* const to = value.data();
  std::memcpy(to, &stamp, kWordBytes);
  const size_t body_end = value.size() - kWordBytes;
  uint64_t word = mix64(stamp ^ key_index);
  size_t at = kWordBytes;
  for (; at + kWordBytes <= body_end; at += kWordBytes, word += kOddStep) {
    std::memcpy(to + at, &word, kWordBytes);
  }
  std::memcpy(to + at, &word, body_end - at);
  const uint64_t check = XXH3_64bits(to, body_end) + identity(key_index, value.size());
  std::memcpy(to + body_end, &check, kWordBytes);
}

}  // namespace

void fill(std::span<char> value, uint32_t key_index, Stamp stamp) noexcept {
  const size_t bytes = value.size();
  if (bytes >= kLongBytesMin) return fill_long(value, key_index, stamp_word(stamp));
  if (bytes < kWordBytes) {
    const uint64_t word = identity(key_index, bytes);
    std::memcpy(value.data(), &word, bytes);
    return;
  }
  const uint64_t head = head_word(stamp_bits(stamp), key_index, bytes);
  std::memcpy(value.data(), &head, kWordBytes);
  const uint64_t tail = mix64(head);
  std::memcpy(value.data() + kWordBytes, &tail, bytes - kWordBytes);
}

bool is_right(std::string_view value, uint32_t key_index) noexcept {
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

}  // namespace copykv::bench::value_form
