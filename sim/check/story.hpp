// SPDX-License-Identifier: Apache-2.0
// Why no order exists, in plain words: for people who look for the bug.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "sim/check/search.hpp"

namespace copykv::sim {

/// Lines: what cannot be, why if that is simple, what the key could hold, and the operations
/// around. `operations` are all of the key, sorted by beginnings, of which `timeline` was built.
[[nodiscard]] std::string tell(uint64_t key, std::span<const Operation* const> operations,
                               const Timeline& timeline, const Search::Place& place,
                               uint64_t origin_ns);

/// Of an operation that cannot end so, whatever the key holds.
[[nodiscard]] std::string tell_of_end(const Operation& operation, uint64_t origin_ns);

}  // namespace copykv::sim
