// SPDX-License-Identifier: Apache-2.0
// Sleeping and waking: no sleeper is forgotten, no sleep is longer than asked.
#include "shm/wake.hpp"

#include <atomic>
#include <thread>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "base/membarrier.hpp"

using namespace copykv;

namespace {

constexpr uint64_t kForgottenNs = 5 * kNanosPerSecond;

/// One side publishes numbers, the other sleeps between them, by the protocol of shm/wake.hpp.
/// Returns how often the sleeper slept through its time limit with news waiting: a lost wake-up.
uint32_t lost_wakes(bool fence_free, uint32_t rounds) {
  alignas(kCacheLineBytes) static uint32_t sleeping;
  alignas(kCacheLineBytes) static uint32_t published;
  alignas(kCacheLineBytes) static uint32_t seen;
  sleeping = published = seen = 0;
  uint32_t lost = 0;
  std::thread sleeper([&] {
    const SystemClock clock;
    for (uint32_t next = 1; next <= rounds; ++next) {
      const uint64_t began_ns = clock.now_ns();
      while (observe(published) != next) {
        poke<uint32_t>(sleeping, 1);
        heavy_fence(fence_free);
        if (observe(published) != next) wait_futex(sleeping, 1, kForgottenNs);
        poke<uint32_t>(sleeping, 0);
      }
      if (clock.now_ns() - began_ns >= kForgottenNs) ++lost;
      publish(seen, next);
    }
  });
  for (uint32_t next = 1; next <= rounds; ++next) {
    // Now at once, now when the other side is surely asleep.
    for (uint32_t pause = 0; pause < next % 7; ++pause) std::this_thread::yield();
    publish(published, next);
    light_fence(fence_free);
    if (peek(sleeping) != 0 && exchange<uint32_t>(sleeping, 0) != 0) wake_futex(sleeping);
    while (observe(seen) != next) std::this_thread::yield();
  }
  sleeper.join();
  return lost;
}

}  // namespace

TEST_CASE("no sleeper is forgotten") {
  REQUIRE(lost_wakes(false, 2'000) == 0);
  if (register_global_membarrier()) REQUIRE(lost_wakes(true, 2'000) == 0);
}

TEST_CASE("a word that has changed already is not waited for") {
  const SystemClock clock;
  uint32_t word = 0;
  const uint64_t began_ns = clock.now_ns();
  wait_futex(word, 1, kForgottenNs);
  REQUIRE(clock.now_ns() - began_ns < kForgottenNs);
}

TEST_CASE("a sleep ends after its time") {
  const SystemClock clock;
  uint32_t word = 1;
  const uint64_t began_ns = clock.now_ns();
  wait_futex(word, 1, 20 * kNanosPerMilli);
  const uint64_t slept_ns = clock.now_ns() - began_ns;
  REQUIRE(slept_ns >= 19 * kNanosPerMilli);
  REQUIRE(slept_ns < kForgottenNs);
}

TEST_CASE("waking nobody is harmless") {
  uint32_t word = 0;
  wake_futex(word);
  REQUIRE(word == 0);
}
