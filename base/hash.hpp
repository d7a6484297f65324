// SPDX-License-Identifier: Apache-2.0
// The one hash of a key: XXH3, 64 bit, unseeded, so that clients, daemons and ranks agree.
//   top 12 bits      partition (who owns the key)
//   remaining bits   bucket and tag inside the owner's FastMap
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <string_view>

namespace copykv {

inline constexpr uint32_t kPartitionBits = 12;
inline constexpr uint32_t kPartitionCount = 1U << kPartitionBits;

/// Of any length: much code, once.
[[nodiscard]] [[gnu::noinline]] inline uint64_t hash_any_key(std::string_view key) noexcept {
  return XXH3_64bits(key.data(), key.size());
}
/// Most keys are of 8 bytes: a length known here makes the hash straight code.
[[nodiscard]] inline uint64_t hash_key(std::string_view key) noexcept {
  return key.size() == 8 ? XXH3_64bits(key.data(), 8) : hash_any_key(key);
}

[[nodiscard]] constexpr uint32_t partition_of(uint64_t hash) noexcept {
  return static_cast<uint32_t>(hash >> (64 - kPartitionBits));
}

}  // namespace copykv
