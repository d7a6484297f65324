// SPDX-License-Identifier: Apache-2.0
#include "base/entropy.hpp"

#include <sys/random.h>

#include <cerrno>

#include "base/assert.hpp"

namespace copykv {

uint64_t random_word() noexcept {
  uint64_t word = 0;
  const ssize_t got = getrandom(&word, sizeof(word), 0);  // up to 256 bytes are never cut short
  COPYKV_ASSERT(got == sizeof(word), "getrandom: errno={}", errno);
  return word;
}

std::string random_bytes(size_t bytes) {
  std::string made(bytes, '\0');
  for (size_t have = 0; have < bytes;) {
    const ssize_t got = getrandom(made.data() + have, bytes - have, 0);
    COPYKV_ASSERT(got > 0 || errno == EINTR, "getrandom: errno={}", errno);
    if (got > 0) have += static_cast<size_t>(got);
  }
  return made;
}

}  // namespace copykv
