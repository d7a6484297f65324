// SPDX-License-Identifier: Apache-2.0
// Counts every operator new of the process, for tests of code that must not allocate.
#pragma once

#include <cstdint>

#include "base/sanitizers.hpp"

namespace copykv::test {

/// The thread sanitizer brings an operator new of its own: in its build nothing is counted.
inline constexpr bool kAllocationsAreCounted = COPYKV_TSAN == 0;

[[nodiscard]] uint64_t allocation_count() noexcept;

}  // namespace copykv::test
