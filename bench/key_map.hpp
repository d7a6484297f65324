// SPDX-License-Identifier: Apache-2.0
// The keys of a load over several ranks: as many of each rank's own as the key range says. Which
// rank owns a key is decided by its hash, so names are tried in order until every rank has its
// number; the result depends on the routing alone, and every rank of the job comes to the same one.
//
// PLACES  The keys of a load are numbered rank after rank: place p is key p % key_range of rank
//   p / key_range. numbers[p] is the number (keys.hpp) that the key's name spells.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/error.hpp"
#include "base/hash.hpp"

namespace copykv::bench {

/// The rank that owns each partition.
using PartitionRanks = std::array<uint16_t, kPartitionCount>;

/// Keys of all ranks together: the table of numbers takes four bytes for each.
inline constexpr uint64_t kKeysOfRanksMax = uint64_t{1} << 26;

/// Fails when names of `key_bytes` are too short for so many keys.
[[nodiscard]] Outcome<std::vector<uint32_t>> choose_keys(const PartitionRanks& owners,
                                                         uint32_t ranks, uint64_t key_range,
                                                         uint32_t key_bytes);

}  // namespace copykv::bench
