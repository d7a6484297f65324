// SPDX-License-Identifier: Apache-2.0
// Bits that nobody can guess, from the kernel's generator: secrets, identities, memory keys. For
// everything that a seed shall reproduce: base/random.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace copykv {

[[nodiscard]] uint64_t random_word() noexcept;
[[nodiscard]] std::string random_bytes(size_t bytes);

}  // namespace copykv
