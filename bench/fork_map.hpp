// SPDX-License-Identifier: Apache-2.0
// Work that has nothing in common, in child processes: simulations keep their state in the process.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace copykv::bench {

/// work(0) .. work(count - 1), at most `jobs` at a time, each in a process of its own; what they
/// return, in order. Fails with the first that throws or dies. Call it from a program without
/// threads.
[[nodiscard]] Outcome<std::vector<std::string>> fork_map(
    size_t count, uint32_t jobs, const std::function<std::string(size_t)>& work);

/// As many as this process may use at once.
[[nodiscard]] uint32_t usable_cores();

}  // namespace copykv::bench
