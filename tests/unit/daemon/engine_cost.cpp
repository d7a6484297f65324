// SPDX-License-Identifier: Apache-2.0
// Driver for counting instructions of the engine's turn: one client, requests in groups, everything
// in one thread. Run it under callgrind by engine_cost.py.
//
//   engine_cost get|put GROUP    1,024 keys, 8-byte keys and values, GROUP requests per turn
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.hpp"
#include "sim/in_process.hpp"

namespace {

using namespace copykv;

constexpr uint32_t kKeys = 1024;
constexpr uint32_t kRounds = 2000;

/// What is counted: the daemon's side of one group.
[[gnu::noinline]] uint32_t measured_turn(Engine& engine) noexcept {
  return engine.turn();
}

}  // namespace

int main(int argc, char** argv) {
  COPYKV_ASSERT(argc == 3, "usage: engine_cost get|put GROUP");
  const bool is_put = std::string_view(argv[1]) == "put";
  const auto group = static_cast<uint32_t>(std::atoi(argv[2]));
  sim::InProcessDaemon daemon(
      {.memory_bytes = uint64_t{32} << 20, .fence_free = true, .turns_per_clock_read = 32});
  const auto seat = daemon.attach({.queue_depth = 64});
  Client client = daemon.client(*seat, Wait::spin);
  daemon.settle();

  std::vector<std::string> keys;
  for (uint32_t index = 0; index < kKeys; ++index) keys.push_back(fmt::format("{:08}", index));
  std::array<Completion, 64> completions;
  uint32_t next = 0;
  const auto round = [&](bool put, bool measured) {
    for (uint32_t index = 0; index < group; ++index, ++next) {
      const std::string& key = keys[next % kKeys];
      const Status status = put ? client.submit_put(key, key, next) : client.submit_get(key, next);
      COPYKV_ASSERT(status == Status::ok, "submit: {}", to_string(status));
    }
    const uint32_t done = measured ? measured_turn(daemon.engine()) : daemon.turn();
    COPYKV_ASSERT(done == group, "done={} group={}", done, group);
    const size_t taken = client.poll(completions);
    COPYKV_ASSERT(taken == group, "taken={}", taken);
    for (size_t index = 0; index < taken; ++index) {
      COPYKV_ASSERT(completions[index].result.ok(), "status");
    }
  };
  for (uint32_t filled = 0; filled < kKeys; filled += group) round(true, false);
  for (uint32_t index = 0; index < kRounds; ++index) round(is_put, true);
  fmt::print("operations {}\n", kRounds * group);
  return 0;
}
