// SPDX-License-Identifier: Apache-2.0
// The history of a storm before the checkers. For programs of the test framework.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <functional>
#include <string>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "sim/check/calls.hpp"
#include "sim/check/linearizability.hpp"

namespace copykv::storm {

/// Prints what was checked. A history that is not in order is kept, and the file named.
/// `shard_of`: versions of a shard must grow over all its keys.
inline void expect_in_order(const sim::History& history, const std::string& name,
                            const std::function<uint64_t(uint64_t key)>& shard_of) {
  const SystemClock clock;
  const uint64_t began_ns = clock.now_ns();
  const sim::Verdict verdict = sim::check_linearizability(history);
  std::string story = verdict.story;
  if (story.empty()) story = sim::check_calls_end(history);
  if (story.empty()) story = sim::check_versions(history, shard_of);
  fmt::print("  {} operations of {} keys checked in {:.2f} s\n", verdict.operations, verdict.keys,
             static_cast<double>(clock.now_ns() - began_ns) / 1e9);
  if (story.empty()) return;
  const std::string file =
      (std::filesystem::temp_directory_path() / ("copykv-" + name + ".history")).string();
  const Outcome<void> kept = sim::save(history, file);
  FAIL(story << (kept ? "kept in " + file : kept.error));
}

}  // namespace copykv::storm
