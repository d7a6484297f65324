// SPDX-License-Identifier: Apache-2.0
// A million operations, in two shapes: spread over many keys, and on a few that all clients want.
//
//   COPYKV_CHECK_OPERATIONS   how many (default 1,000,000)
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "sim/check/linearizability.hpp"
#include "tests/unit/sim/random_history.hpp"

namespace copykv::sim {
namespace {

constexpr double kSecondsPerMillionMax = 10;

[[nodiscard]] uint32_t operations_wanted() {
  const char* text = std::getenv("COPYKV_CHECK_OPERATIONS");
  return text == nullptr ? 1'000'000 : static_cast<uint32_t>(std::strtoul(text, nullptr, 10));
}

void measure(const char* name, ExecutionOptions options) {
  const SystemClock clock;
  options.operations = operations_wanted();
  Random random(1);
  const History history = execute(options, random);
  const uint64_t began_ns = clock.now_ns();
  const Verdict verdict = check_linearizability(history);
  const double seconds = static_cast<double>(clock.now_ns() - began_ns) / 1e9;
  INFO(verdict.story);
  CHECK(verdict.ok());
  rusage usage{};
  (void)::getrusage(RUSAGE_SELF, &usage);
  fmt::print("{}: {} operations of {} keys in {:.2f} s, {} states; {} MiB at most\n", name,
             verdict.operations, verdict.keys, seconds, verdict.states, usage.ru_maxrss / 1024);
  CHECK(seconds < kSecondsPerMillionMax * operations_wanted() / 1e6);
}

}  // namespace

TEST_CASE("a million operations, many keys") {
  measure("many keys", {.processes = 64, .keys = 10'000, .open = 0.01, .wipes = 3});
}

// Some 62,500 operations on each key. With ten times as many on one key, open ones among them, the
// search does not end in minutes.
TEST_CASE("a million operations, few keys, most of them of the simple kinds") {
  const uint32_t keys = std::max(16U, 16 * (operations_wanted() / 1'000'000));
  measure("few keys", {.processes = 32, .keys = keys, .plain = 0.9, .open = 0.005, .wipes = 20});
}

TEST_CASE("a hundred histories of ten thousand operations: what a simulated cluster needs") {
  const SystemClock clock;
  uint64_t took_ns = 0;
  for (uint32_t seed = 0; seed < 100; ++seed) {
    Random random(seed);
    const History history = execute(
        {.operations = 10'000, .processes = 9, .keys = 300, .open = 0.02, .wipes = 3}, random);
    const uint64_t began_ns = clock.now_ns();
    CHECK(check_linearizability(history).ok());
    took_ns += clock.now_ns() - began_ns;
  }
  fmt::print("100 x 10,000 operations: {:.1f} ms each\n", static_cast<double>(took_ns) / 1e8);
}

}  // namespace copykv::sim
