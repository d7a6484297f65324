// SPDX-License-Identifier: Apache-2.0
// What cards on disk and messages on the wire are made of (base/bytes.hpp), and who says them.
#pragma once

#include <poll.h>

#include <cstdint>

#include "base/bytes.hpp"
#include "base/entropy.hpp"

namespace copykv::bootstrap {

/// Whether there is something to read; never for -1.
[[nodiscard]] inline bool is_readable(int fd) noexcept {
  pollfd asked{fd, POLLIN, 0};
  return fd >= 0 && ::poll(&asked, 1, 0) > 0;
}

/// Names one life of a rank; never 0.
[[nodiscard]] inline uint64_t random_incarnation() noexcept {
  return random_word() | 1;
}

}  // namespace copykv::bootstrap
