// SPDX-License-Identifier: Apache-2.0
// Randomness as a parameter: a small, fast generator whose every use is reproduced by its seed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace copykv {

/// One step of SplitMix64 (Steele, Lea, Flood 2014): turns any seed, also 0, into good bits.
[[nodiscard]] constexpr uint64_t splitmix64(uint64_t& state) noexcept {
  uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

/// Fills `to` with the bytes that follow from `seed`, and says whether bytes are those.
inline void fill_bytes(char* to, size_t bytes, uint64_t seed) noexcept {
  for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
    const uint64_t word = splitmix64(seed);
    std::memcpy(to + at, &word, std::min(sizeof(word), bytes - at));
  }
}
/// Where `bytes` first differ from what fill_bytes makes of `seed`; their size: nowhere. To a word.
[[nodiscard]] inline size_t filled_until(std::string_view bytes, uint64_t seed) noexcept {
  for (size_t at = 0; at < bytes.size(); at += sizeof(uint64_t)) {
    const uint64_t word = splitmix64(seed);
    if (std::memcmp(bytes.data() + at, &word, std::min(sizeof(word), bytes.size() - at)) != 0) {
      return at;
    }
  }
  return bytes.size();
}

/// xoshiro256** 1.0 (Blackman, Vigna 2018). Not for secrets. Not thread-safe: one per thread.
class Random {
 public:
  explicit constexpr Random(uint64_t seed) noexcept {
    for (auto& word : state_) word = splitmix64(seed);
  }

  [[nodiscard]] constexpr uint64_t next() noexcept {
    const uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotate(state_[3], 45);
    return result;
  }

  /// Uniform in [0, bound), bound > 0 (Lemire 2019, without the rejection step: the bias is below
  /// bound / 2^64).
  [[nodiscard]] constexpr uint64_t below(uint64_t bound) noexcept {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }

  /// Uniform in [0, 1), 53 bits.
  [[nodiscard]] constexpr double unit() noexcept {
    return static_cast<double>(next() >> 11) * 0x1.0p-53;
  }

  [[nodiscard]] constexpr bool chance(double probability) noexcept { return unit() < probability; }

 private:
  static constexpr uint64_t rotate(uint64_t x, int k) noexcept {
    return (x << k) | (x >> (64 - k));
  }
  uint64_t state_[4]{};
};

}  // namespace copykv
