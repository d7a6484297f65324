// SPDX-License-Identifier: Apache-2.0
// Counts every operator new of the process, for tests of code that must not allocate.
#pragma once

#include <cstdint>

namespace copykv::test {

[[nodiscard]] uint64_t allocation_count() noexcept;

}  // namespace copykv::test
