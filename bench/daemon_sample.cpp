// SPDX-License-Identifier: Apache-2.0
#include "bench/daemon_sample.hpp"

#include <map>

namespace copykv::bench {

DaemonSample read_counters(const DaemonBlock& block, uint32_t rank, uint32_t daemon) {
  DaemonSample sample;
  sample.rank = rank;
  sample.daemon = daemon;
  sample.turns = peek(block.turns);
  sample.busy_turns = peek(block.busy_turns);
  sample.requests = peek(block.requests);
  sample.remote_calls = peek(block.remote_calls);
  sample.ground_queue_sum = peek(block.ground_queue_sum);
  sample.sampled_turns = peek(block.sampled_turns);
  for (uint32_t phase = 0; phase < kPhaseCount; ++phase) {
    const PhaseHistogram& from = block.phases[phase];
    for (uint32_t bucket = 0; bucket < PhaseHistogram::kBuckets; ++bucket) {
      const uint64_t times = peek(from.counts[bucket]);
      if (times > 0) sample.phases[phase].add_bucket(PhaseHistogram::upper_ns(bucket), times);
    }
    sample.phases[phase].add_totals(peek(from.sum_ns), peek(from.max_ns));
  }
  return sample;
}

DaemonSample difference(const DaemonSample& later, const DaemonSample& earlier) {
  DaemonSample change = later;
  change.turns -= earlier.turns;
  change.busy_turns -= earlier.busy_turns;
  change.requests -= earlier.requests;
  change.remote_calls -= earlier.remote_calls;
  change.ground_queue_sum -= earlier.ground_queue_sum;
  change.sampled_turns -= earlier.sampled_turns;
  for (uint32_t phase = 0; phase < kPhaseCount; ++phase) {
    std::map<uint64_t, uint64_t> before;
    earlier.phases[phase].for_each_bucket(
        [&](uint64_t upper_ns, uint64_t times) { before[upper_ns] = times; });
    Histogram phase_change;
    later.phases[phase].for_each_bucket([&](uint64_t upper_ns, uint64_t times) {
      const uint64_t grown = times - before[upper_ns];
      if (grown > 0) phase_change.add_bucket(upper_ns, grown);
    });
    phase_change.add_totals(later.phases[phase].sum_ns() - earlier.phases[phase].sum_ns(),
                            later.phases[phase].max_ns());
    change.phases[phase] = std::move(phase_change);
  }
  return change;
}

}  // namespace copykv::bench
