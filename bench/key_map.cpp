// SPDX-License-Identifier: Apache-2.0
#include "bench/key_map.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.hpp"
#include "bench/keys.hpp"

namespace copykv::bench {

Outcome<std::vector<uint32_t>> choose_keys(const PartitionRanks& owners, uint32_t ranks,
                                           uint64_t key_range, uint32_t key_bytes) {
  const uint64_t names = key_bytes >= 8 ? kKeyRangeMax : uint64_t{1} << (4 * key_bytes);
  std::vector<uint32_t> numbers(ranks * key_range);
  std::vector<uint64_t> found(ranks);
  KeyText text(key_bytes);
  uint64_t missing = numbers.size();
  for (uint64_t number = 0; missing > 0 && number < names; ++number) {
    const auto candidate = static_cast<uint32_t>(number);
    const uint32_t rank = owners[partition_of(hash_key(text(candidate)))];
    if (rank >= ranks || found[rank] == key_range) continue;
    numbers[rank * key_range + found[rank]++] = candidate;
    --missing;
  }
  if (missing == 0) return numbers;
  return Failure{fmt::format(
      "--key-bytes {}: too short for {} keys of each of {} ranks; raise it or lower --key-range",
      key_bytes, format_count(key_range), ranks)};
}

}  // namespace copykv::bench
