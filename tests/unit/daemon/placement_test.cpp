// SPDX-License-Identifier: Apache-2.0
// Where daemon threads run, on whatever machine the test runs: only CPUs of this process count.
#include "daemon/placement.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>

#include <algorithm>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace copykv;

namespace {

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  REQUIRE(sched_getaffinity(0, sizeof(set), &set) == 0);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<size_t>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus;
}

std::string refusal(std::string_view policy, uint32_t daemon_count) {
  const Outcome<DaemonPlaces> placed = place_daemons(policy, daemon_count);
  return placed ? "was accepted" : placed.error;
}

}  // namespace

TEST_CASE("none leaves every thread to the scheduler") {
  const auto placed = place_daemons("none", 3);
  REQUIRE(placed);
  REQUIRE(placed->places.size() == 3);
  for (const CpuPlace& place : placed->places) {
    CHECK(place.cpu == -1);
    CHECK(place.numa_node == -1);
  }
}

TEST_CASE("auto always places, on distinct CPUs of this process or on none") {
  for (const uint32_t count : {1U, 2U, 7U, 64U}) {
    const auto placed = place_daemons("auto", count);
    REQUIRE(placed);
    REQUIRE(placed->places.size() == count);
    CHECK_FALSE(placed->note.empty());
    std::set<int> used;
    for (const CpuPlace& place : placed->places) {
      if (place.cpu >= 0) CHECK(used.insert(place.cpu).second);
    }
    CHECK((used.empty() || used.size() == count));
    if (allowed_cpus().size() < 4) CHECK(used.empty());
  }
}

TEST_CASE("compact and spread give each thread a core of its own, or say that there are too few") {
  const std::vector<int> allowed = allowed_cpus();
  for (const char* policy : {"compact", "spread"}) {
    const auto placed = place_daemons(policy, 1);
    REQUIRE(placed);
    CHECK(std::count(allowed.begin(), allowed.end(), placed->places[0].cpu) == 1);
    CHECK_THAT(placed->note, Catch::Contains(fmt::format("CPU {}", placed->places[0].cpu)));
    CHECK_THAT(refusal(policy, 100'000), Catch::Contains("lower --daemon-threads"));
  }
}

TEST_CASE("a list names one allowed CPU for each thread") {
  const std::vector<int> allowed = allowed_cpus();
  const std::string first = std::to_string(allowed.front());
  const auto placed = place_daemons(first, 1);
  REQUIRE(placed);
  CHECK(placed->places[0].cpu == allowed.front());
  const std::string all = fmt::format("{}", fmt::join(allowed, ","));
  const auto every = place_daemons(all, static_cast<uint32_t>(allowed.size()));
  REQUIRE(every);
  for (size_t index = 0; index < allowed.size(); ++index) {
    CHECK(every->places[index].cpu == allowed[index]);
  }

  CHECK_THAT(refusal(first, 2), Catch::Contains("names 1 CPUs for 2 daemon threads"));
  CHECK_THAT(refusal(first + "," + first, 1), Catch::Contains("names 2 CPUs for 1"));
  CHECK_THAT(refusal("99999", 1), Catch::Contains("does not exist or is not allowed"));
  CHECK_THAT(refusal("somewhere", 1), Catch::Contains("auto, none, compact, spread"));
  CHECK_THAT(refusal(first + ",,", 1), Catch::Contains("auto, none, compact, spread"));
  CHECK_THAT(refusal("-1", 1), Catch::Contains("auto, none, compact, spread"));
  CHECK_THAT(refusal("", 1), Catch::Contains("names 0 CPUs"));
}

TEST_CASE("a place binds the calling thread and no other") {
  const std::vector<int> before = allowed_cpus();
  std::thread([&] {
    CpuPlace{}.bind_this_thread();
    CHECK(allowed_cpus() == before);
    CpuPlace{before.back(), -1}.bind_this_thread();
    CHECK(allowed_cpus() == std::vector<int>{before.back()});
    CpuPlace{CPU_SETSIZE - 1, -1}.bind_this_thread();  // there is no such CPU: a hint, no error
    CHECK(allowed_cpus() == std::vector<int>{before.back()});
  }).join();
  CHECK(allowed_cpus() == before);
}
