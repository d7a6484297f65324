// SPDX-License-Identifier: Apache-2.0
// Waiting for answers, by policy, and noticing that the daemon is gone.
#include <sched.h>

#include <algorithm>
#include <ctime>

#include "base/clock.hpp"
#include "client/impl.hpp"
#include "shm/wake.hpp"

namespace copykv {
namespace {

// A local answer takes 0.1 to 1 us when the daemon runs; spinning longer only keeps it from
// running.
constexpr uint32_t kSpins = 400;
constexpr uint32_t kBusySpins = 100;  // without a pause, which costs 40 ns or more on some cores
constexpr uint32_t kBusyRounds = 8;   // of a poll and so many short looks
constexpr uint32_t kBusyLooks = 100;
constexpr uint32_t kYields = 40;
constexpr uint32_t kSpinsPerCheck = 1U << 14;  // about 0.5 ms
constexpr uint64_t kCheckIntervalNs = 100 * kNanosPerMilli;
constexpr uint64_t kSleepSliceNs = 50 * kNanosPerMilli;

}  // namespace

void ClientImpl::check_daemon() noexcept {
  if (!connection_.alive()) broken_ = true;
}

void ClientImpl::check_daemon_now_and_then() noexcept {
  if (idle()) return;
  const uint64_t now = clock_.now_ns();
  if (now - checked_ns_ < kCheckIntervalNs) return;
  checked_ns_ = now;
  check_daemon();
}

template <class Ready>
bool ClientImpl::wait_until(Ready ready, uint64_t timeout_ns) noexcept {
  uint64_t deadline_ns = UINT64_MAX;
  for (uint32_t round = 0;; ++round) {
    if (ready()) return true;
    if (round < kBusySpins && options_.wait != Wait::park) continue;
    if (deadline_ns == UINT64_MAX && timeout_ns != UINT64_MAX) {
      const uint64_t now = clock_.now_ns();
      deadline_ns = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX - 1;
    }
    const bool limited = deadline_ns != UINT64_MAX;
    if (options_.wait == Wait::spin) {
      cpu_pause();
      if (round % kSpinsPerCheck == 0) check_daemon();
      if (limited && round % 64 == 0 && clock_.now_ns() >= deadline_ns) return ready();
      continue;
    }
    if (options_.wait == Wait::adaptive && round < kSpins) {
      cpu_pause();
      continue;
    }
    if (limited && clock_.now_ns() >= deadline_ns) return ready();
    if (options_.wait == Wait::adaptive && round < kSpins + kYields) {
      sched_yield();
      continue;
    }
    uint32_t& sleeping = connection_.control().sleeping;
    poke<uint32_t>(sleeping, 1);
    heavy_fence(connection_.fence_free());  // [D]
    if (!ready()) {
      uint64_t slice_ns = kSleepSliceNs;
      if (limited) {
        const uint64_t now = clock_.now_ns();
        slice_ns = std::min(slice_ns, deadline_ns > now ? deadline_ns - now : 0);
      }
      wait_futex(sleeping, 1, slice_ns);
    }
    poke<uint32_t>(sleeping, 0);
    if (!ready()) check_daemon();
  }
}

bool ClientImpl::any_answered() const noexcept {
  if (broken_) return true;
  for (const LaneEnd& lane : lanes_) {
    if (lane.used > 0 && lane.answered(lane.tail)) return true;
  }
  return false;
}

bool ClientImpl::idle() const noexcept {
  for (const LaneEnd& lane : lanes_) {
    if (lane.used > 0) return false;
  }
  return true;
}

size_t ClientImpl::wait(std::span<Completion> completions, uint64_t timeout_ns) noexcept {
  // The usual answer comes soon: it is looked for as closely as can be, and no clock is read.
  for (uint32_t round = 0; round < kBusyRounds && options_.wait != Wait::park; ++round) {
    const size_t taken = poll(completions);
    if (taken > 0 || in_flight() == 0 || completions.empty()) return taken;
    for (uint32_t look = 0; look < kBusyLooks && !any_answered(); ++look) {
    }
  }
  uint64_t began_ns = 0;
  uint64_t left_ns = timeout_ns;
  while (true) {
    const size_t taken = poll(completions);
    if (taken > 0 || in_flight() == 0 || completions.empty()) return taken;
    if (timeout_ns != UINT64_MAX) {  // an answer that is asked for again does not start it anew
      const uint64_t now = clock_.now_ns();
      if (began_ns == 0) began_ns = now;
      left_ns = timeout_ns - std::min(timeout_ns, now - began_ns);
    }
    if (!wait_any(left_ns)) return poll(completions);
  }
}

void ClientImpl::wait_answer(SlotRef at) noexcept {
  (void)wait_until([&] { return finished(at); }, UINT64_MAX);
}

bool ClientImpl::wait_any(uint64_t timeout_ns) noexcept {
  return wait_until([&] { return any_answered(); }, timeout_ns);
}

}  // namespace copykv
