// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/ofi/entropy.hpp"

#include <sys/random.h>

#include <cerrno>

#include "base/assert.hpp"

namespace copyrpc::ofi {

uint64_t random_word() noexcept {
  uint64_t word = 0;
  const ssize_t got = getrandom(&word, sizeof(word), 0);  // up to 256 bytes are never cut short
  COPYKV_ASSERT(got == sizeof(word), "getrandom: {}", errno);
  return word;
}

}  // namespace copyrpc::ofi
