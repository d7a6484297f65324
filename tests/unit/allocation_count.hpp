// SPDX-License-Identifier: Apache-2.0
// Counts every operator new of the process, for tests of code that must not allocate.
#pragma once

#include <cstdint>

namespace copykv::test {

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COPYKV_THREAD_SANITIZER 1
#endif
#endif

/// The thread sanitizer brings an operator new of its own: in its build nothing is counted.
#if defined(COPYKV_THREAD_SANITIZER) || defined(__SANITIZE_THREAD__)
inline constexpr bool kAllocationsAreCounted = false;
#else
inline constexpr bool kAllocationsAreCounted = true;
#endif

[[nodiscard]] uint64_t allocation_count() noexcept;

}  // namespace copykv::test
