// SPDX-License-Identifier: Apache-2.0
// What each client of a run does: its number, its seed, its part of the keys.
#pragma once

#include <cstdint>

#include "bench/arrival.hpp"
#include "bench/options.hpp"

namespace copykv::bench {

struct WorkerSetup {
  uint32_t client = 0;   ///< of the clients of all ranks
  uint32_t clients = 1;  ///< of all ranks
  uint32_t queue_depth = 1;
  uint64_t seed = 0;
  bool verify = true;
  Arrival arrival = Arrival::closed;
  double interval_ns = 0;  ///< open loop: mean distance of this client's starts
  // Its part of the keys, as places (workload.hpp).
  uint64_t load_begin = 0;
  uint64_t load_end = UINT64_MAX;  ///< or the last key, if that comes first
  uint64_t load_step = 1;
};

/// Of client `client` of rank `rank`. Clients are numbered over all ranks that take part; each
/// rank's clients load its own keys. With --attach there is nobody else to load the keys of the
/// other ranks.
[[nodiscard]] WorkerSetup setup_of(const RunOptions& options, uint32_t rank, uint32_t client);

}  // namespace copykv::bench
