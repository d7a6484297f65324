// SPDX-License-Identifier: Apache-2.0
#include "bench/worker_setup.hpp"

#include "base/clock.hpp"

namespace copykv::bench {

WorkerSetup setup_of(const RunOptions& options, uint32_t rank, uint32_t client) {
  const Workload& load = options.workload;
  const bool alone = options.ranks == 1;
  WorkerSetup setup;
  setup.client = (alone ? 0 : rank * options.client_threads) + client;
  setup.clients = options.client_threads * options.ranks;
  setup.load_begin = (alone ? 0 : load.rank * load.key_range) + client;
  setup.load_end = alone ? load.keys() : (load.rank + 1) * load.key_range;
  setup.load_step = options.client_threads;
  setup.queue_depth = options.queue_depth;
  setup.seed = options.seed + uint64_t{rank} * 1000 + client;
  setup.verify = options.verify;
  setup.arrival = options.arrival;
  if (options.arrival != Arrival::closed) {
    setup.interval_ns = static_cast<double>(kNanosPerSecond) * setup.clients / options.rate;
  }
  return setup;
}

}  // namespace copykv::bench
