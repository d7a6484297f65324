// SPDX-License-Identifier: Apache-2.0
#include "bench/daemon_sample.hpp"

#include <map>

namespace copykv::bench {
namespace {

struct Counter {
  uint64_t DaemonSample::*sample;
  uint64_t DaemonBlock::*block;
};

constexpr std::array kCounters = {
    Counter{&DaemonSample::turns, &DaemonBlock::turns},
    Counter{&DaemonSample::busy_turns, &DaemonBlock::busy_turns},
    Counter{&DaemonSample::requests, &DaemonBlock::requests},
    Counter{&DaemonSample::remote_calls, &DaemonBlock::remote_calls},
    Counter{&DaemonSample::remote_answers, &DaemonBlock::remote_answers},
    Counter{&DaemonSample::inbound_requests, &DaemonBlock::inbound_requests},
    Counter{&DaemonSample::messages_sent, &DaemonBlock::messages_sent},
    Counter{&DaemonSample::batches_sent, &DaemonBlock::batches_sent},
    Counter{&DaemonSample::ring_full, &DaemonBlock::ring_full},
    Counter{&DaemonSample::ground_queue_sum, &DaemonBlock::ground_queue_sum},
    Counter{&DaemonSample::sampled_turns, &DaemonBlock::sampled_turns},
};

Histogram read_histogram(const PhaseHistogram& from) {
  Histogram made;
  for (uint32_t bucket = 0; bucket < PhaseHistogram::kBuckets; ++bucket) {
    const uint64_t times = peek(from.counts[bucket]);
    if (times > 0) made.add_bucket(PhaseHistogram::upper_ns(bucket), times);
  }
  made.add_totals(peek(from.sum_ns), peek(from.max_ns));
  return made;
}

Histogram grown(const Histogram& later, const Histogram& earlier) {
  std::map<uint64_t, uint64_t> before;
  earlier.for_each_bucket([&](uint64_t upper_ns, uint64_t times) { before[upper_ns] = times; });
  Histogram change;
  later.for_each_bucket([&](uint64_t upper_ns, uint64_t times) {
    const uint64_t more = times - before[upper_ns];
    if (more > 0) change.add_bucket(upper_ns, more);
  });
  change.add_totals(later.sum_ns() - earlier.sum_ns(), later.max_ns());
  return change;
}

}  // namespace

DaemonSample read_counters(const DaemonBlock& block, uint32_t rank, uint32_t daemon) {
  DaemonSample sample;
  sample.rank = rank;
  sample.daemon = daemon;
  for (const Counter& counter : kCounters) sample.*counter.sample = peek(block.*counter.block);
  sample.rtt = read_histogram(block.rtt_ns);
  for (uint32_t phase = 0; phase < kPhaseCount; ++phase) {
    sample.phases[phase] = read_histogram(block.phases[phase]);
  }
  return sample;
}

DaemonSample difference(const DaemonSample& later, const DaemonSample& earlier) {
  DaemonSample change = later;
  for (const Counter& counter : kCounters) change.*counter.sample -= earlier.*counter.sample;
  change.rtt = grown(later.rtt, earlier.rtt);
  for (uint32_t phase = 0; phase < kPhaseCount; ++phase) {
    change.phases[phase] = grown(later.phases[phase], earlier.phases[phase]);
  }
  return change;
}

void encode(Encoder& out, const DaemonSample& sample) {
  out.number(sample.rank).number(sample.daemon);
  for (const Counter& counter : kCounters) out.number(sample.*counter.sample);
  out.histogram(sample.rtt);
  for (const Histogram& phase : sample.phases) out.histogram(phase);
}

DaemonSample decode_daemon(Decoder& in) {
  DaemonSample sample;
  sample.rank = static_cast<uint32_t>(in.number());
  sample.daemon = static_cast<uint32_t>(in.number());
  for (const Counter& counter : kCounters) sample.*counter.sample = in.number();
  in.histogram(sample.rtt);
  for (Histogram& phase : sample.phases) in.histogram(phase);
  return sample;
}

Traffic traffic_of(const std::vector<DaemonSample>& daemons) {
  Traffic traffic;
  for (const DaemonSample& daemon : daemons) {
    traffic.rtt += daemon.rtt;
    traffic.messages += daemon.messages_sent;
    traffic.batches += daemon.batches_sent;
  }
  return traffic;
}

}  // namespace copykv::bench
