// SPDX-License-Identifier: Apache-2.0
// What a client shows while it runs, for the progress line: in memory that the reporting process
// shares with it. Written by the client (poke), read by the reporter (peek); slightly stale is
// fine.
#pragma once

#include <array>
#include <cstdint>

#include "base/atomics.hpp"

namespace copykv::bench {

/// One latency per poll round is counted, in eight buckets per power of two.
struct alignas(2 * kCacheLineBytes) LiveStats {
  static constexpr uint32_t kSubBits = 3;
  static constexpr uint32_t kBuckets = 42U << kSubBits;

  uint64_t operations = 0;
  uint64_t errors = 0;
  std::array<uint64_t, kBuckets> latency_counts{};

  [[nodiscard]] static constexpr uint32_t bucket_of(uint64_t ns) noexcept {
    constexpr uint64_t kSub = 1U << kSubBits;
    if (ns < kSub) return static_cast<uint32_t>(ns);
    const uint32_t shift = 63U - static_cast<uint32_t>(__builtin_clzll(ns)) - kSubBits;
    const uint64_t bucket = ((uint64_t{shift} + 1) << kSubBits) + ((ns >> shift) - kSub);
    return bucket < kBuckets ? static_cast<uint32_t>(bucket) : kBuckets - 1;
  }
  [[nodiscard]] static constexpr uint64_t upper_ns(uint32_t bucket) noexcept {
    constexpr uint64_t kSub = 1U << kSubBits;
    if (bucket < kSub) return bucket;
    return ((kSub + bucket % kSub + 1) << (bucket / kSub - 1)) - 1;
  }

  void show(uint64_t operations_now, uint64_t errors_now, uint64_t latency_ns) noexcept {
    poke(operations, operations_now);
    poke(errors, errors_now);
    count<uint64_t>(latency_counts[bucket_of(latency_ns)], 1);
  }
};

}  // namespace copykv::bench
