// SPDX-License-Identifier: Apache-2.0
// One simulated run: a cluster under load and faults, then whole again, then at rest; every answer
// checked, and at the end everything counted.
//
// WHAT IS CHECKED
//   linearisability of each key, versions, every call's end   sim/check
//   values                                                    each byte follows from the value's
//   name lanes, rings, credits                                     every few hundred events, and at
//   the end service                                                   once nothing is broken, every
//   call
//                                                             succeeds, and soon
//   rest                                                      no call, post, batch or item is left
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "sim/check/history.hpp"
#include "sim/faults.hpp"

namespace copykv::sim {

struct RunOptions {
  uint64_t seed = 0;
  uint32_t ranks = 3;
  uint32_t clients = 2;  ///< of each rank
  uint32_t depth_max = 8;
  uint64_t operations = 10'000;
  uint32_t keys = 40;
  FaultSet faults = kAllFaults;
  bool subset = true;  ///< each seed chooses some of the faults
  std::string profile = "faults";
};

struct RunReport {
  std::string violation{};  ///< empty: none
  std::string story{};      ///< events around it
  uint64_t trace_hash = 0;
  uint64_t operations = 0;  ///< checked
  uint64_t virtual_ns = 0;
  uint64_t turns = 0;
  uint64_t posts = 0;
  FaultSet faults = 0;  ///< that this seed had chosen
  std::array<uint64_t, kFaultCount> fault_counts{};
  std::array<uint64_t, kStatusCount> by_status{};
  uint64_t garbage_words = 0;
  History history{};

  [[nodiscard]] bool ok() const { return violation.empty(); }
};

/// The error names an impossible option.
[[nodiscard]] Outcome<RunReport> run_simulation(const RunOptions& options);

/// The command that repeats it.
[[nodiscard]] std::string command_of(const RunOptions& options);

}  // namespace copykv::sim
