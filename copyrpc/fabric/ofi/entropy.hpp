// SPDX-License-Identifier: Apache-2.0
// Words that nobody can guess, for identities and memory keys.
#pragma once

#include <cstdint>

namespace copyrpc::ofi {

/// 64 bits of the kernel's generator.
[[nodiscard]] uint64_t random_word() noexcept;

}  // namespace copyrpc::ofi
