// SPDX-License-Identifier: Apache-2.0
// shm/wake.hpp in the checked build: fences and sleepers are the simulation's.
#include "base/checked.hpp"
#include "shm/wake.hpp"

namespace copykv {

void heavy_fence(bool fence_free) noexcept {
  full_fence();
  if (fence_free && Checked::on_heavy_fence != nullptr) Checked::on_heavy_fence();
}

/// Never called: simulated clients sleep by their own means.
void wait_futex(const uint32_t&, uint32_t, uint64_t) noexcept {}

void wake_futex(uint32_t& word) noexcept {
  if (Checked::on_wake != nullptr) Checked::on_wake(&word);
}

}  // namespace copykv
