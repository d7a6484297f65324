// SPDX-License-Identifier: Apache-2.0
// How often a process may attach: its allowance, its rate, and that nobody else pays for it.
#include "daemon/attach_rate.hpp"

#include <catch2/catch.hpp>

using namespace copykv;

namespace {

constexpr uint64_t kStartNs = 7 * kNanosPerSecond;

uint32_t attaches_until_refused(AttachRate& rate, int pid, uint64_t now_ns) {
  uint32_t attaches = 0;
  while (rate.take(pid, now_ns)) ++attaches;
  return attaches;
}

}  // namespace

TEST_CASE("a process attaches as often as allowed at once, then at its rate") {
  AttachRate rate(50, 10);
  CHECK(attaches_until_refused(rate, 1, kStartNs) == 50);
  CHECK(attaches_until_refused(rate, 1, kStartNs + kNanosPerSecond / 10 - 1) == 0);
  CHECK(attaches_until_refused(rate, 1, kStartNs + kNanosPerSecond / 10) == 1);
  CHECK(attaches_until_refused(rate, 1, kStartNs + kNanosPerSecond) == 9);
  // Whole again after a long time, and not more than whole.
  CHECK(attaches_until_refused(rate, 1, kStartNs + 1'000 * kNanosPerSecond) == 50);
}

TEST_CASE("who asks while refused does not wait longer for it") {
  AttachRate rate(1, 10);
  CHECK(rate.take(1, kStartNs));
  for (uint32_t attempt = 0; attempt < 1'000; ++attempt) CHECK_FALSE(rate.take(1, kStartNs + 1));
  CHECK(rate.take(1, kStartNs + kNanosPerSecond / 10));
}

TEST_CASE("processes do not share an allowance") {
  AttachRate rate(5, 10);
  CHECK(attaches_until_refused(rate, 1, kStartNs) == 5);
  CHECK(attaches_until_refused(rate, 2, kStartNs) == 5);
}

TEST_CASE("processes that attach no more are forgotten") {
  AttachRate rate(4, 1'000);
  uint64_t now_ns = kStartNs;
  size_t most = 0;
  for (int pid = 1; pid <= 1'000'000; ++pid, now_ns += 50'000) {  // 20,000 new ones a second
    REQUIRE(rate.take(pid, now_ns));
    most = std::max(most, rate.processes());
  }
  CHECK(most <= 256);  // 20 of them count at any time
}
