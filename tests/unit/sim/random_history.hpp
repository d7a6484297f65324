// SPDX-License-Identifier: Apache-2.0
// Histories at random: of clients that use a real store at the same time, and of answers that
// somebody made up.
#pragma once

#include "base/random.hpp"
#include "sim/check/history.hpp"

namespace copykv::sim {

struct ExecutionOptions {
  uint32_t operations = 100;
  uint32_t processes = 4;
  uint64_t keys = 1;
  double reads = 0.5;   ///< share of get and exists; what remains is any kind of write
  double plain = 0.5;   ///< share of the writes that are unconditional puts without a life
  double open = 0.05;   ///< share of the writes that are cut off
  double lives = 0.1;   ///< share of puts and touches that give a life
  uint32_t wipes = 0;   ///< deaths and restarts of the owner of all keys
  bool numbers = true;  ///< with add
};

/// What clients see of a store that does one thing at a time: always has an order.
[[nodiscard]] History execute(const ExecutionOptions& options, Random& random);

/// A few operations of one key with answers that could be anything: mostly has none.
[[nodiscard]] History make_up(uint32_t operations, Random& random);

}  // namespace copykv::sim
