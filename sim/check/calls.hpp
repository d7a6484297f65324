// SPDX-License-Identifier: Apache-2.0
// What a history must keep beyond the order of one key's operations (linearizability.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sim/check/history.hpp"

namespace copykv::sim {

/// Every call ends, but those of processes that died (History::death). Empty, or the first that
/// does not.
[[nodiscard]] std::string check_calls_end(const History& history);

/// Within a life of a shard, a write that begins after another has ended has a higher version, and
/// no two have the same. `shard_of` says which shard owns a key; a wipe of any of its keys ends the
/// shard's life. Empty, or the first that has not.
[[nodiscard]] std::string check_versions(const History& history,
                                         const std::function<uint64_t(uint64_t key)>& shard_of);

}  // namespace copykv::sim
