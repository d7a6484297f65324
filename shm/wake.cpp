// SPDX-License-Identifier: Apache-2.0
#include "shm/wake.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

#include "base/clock.hpp"
#include "base/membarrier.hpp"

namespace copykv {

void heavy_fence(bool fence_free) noexcept {
  full_fence();
  if (fence_free) (void)global_membarrier();
}

void wait_futex(const uint32_t& word, uint32_t expected, uint64_t timeout_ns) noexcept {
  const timespec timeout{static_cast<time_t>(timeout_ns / kNanosPerSecond),
                         static_cast<long>(timeout_ns % kNanosPerSecond)};
  // Not FUTEX_PRIVATE: the word is shared between processes.
  (void)::syscall(SYS_futex, &word, FUTEX_WAIT, expected, &timeout, nullptr, 0);
}

void wake_futex(uint32_t& word) noexcept {
  (void)::syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

}  // namespace copykv
