// SPDX-License-Identifier: Apache-2.0
#include "bench/line_rtt.hpp"

#include <hwloc.h>
#include <pthread.h>
#include <sched.h>

#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/atomics.hpp"

namespace copykv::bench {
namespace {

constexpr uint64_t kMeasureNs = 80 * kNanosPerMilli;
// On a busy machine the two threads seldom run at the same time: wait until they have.
constexpr uint64_t kMeasureNsMax = 3 * kNanosPerSecond;
constexpr uint64_t kRoundTripsMin = 10'000;
constexpr uint64_t kWarmupNs = 15 * kNanosPerMilli;
constexpr size_t kPayloadBytes = 56;
constexpr uint64_t kStop = UINT64_MAX;

struct alignas(kCacheLineBytes) Line {
  uint64_t sequence = 0;
  unsigned char payload[kPayloadBytes]{};
};
static_assert(sizeof(Line) == kCacheLineBytes);

// As far apart as the lines of a slot, for the same reason: the prefetcher fetches line pairs.
struct Exchange {
  alignas(2 * kCacheLineBytes) Line there;
  alignas(2 * kCacheLineBytes) Line back;
};

// Two processing units of different cores that this process may use.
std::optional<std::pair<int, int>> pick_cpus() {
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) return std::nullopt;
  std::optional<std::pair<int, int>> picked;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (hwloc_topology_load(topology) == 0 && sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    int first = -1;
    const int cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
    for (int core = 0; core < cores && !picked; ++core) {
      const hwloc_obj_t object =
          hwloc_get_obj_by_type(topology, HWLOC_OBJ_CORE, static_cast<unsigned>(core));
      const int cpu = object == nullptr ? -1 : hwloc_bitmap_first(object->cpuset);
      if (cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(static_cast<size_t>(cpu), &allowed)) continue;
      if (first >= 0) picked = std::pair(first, cpu);
      first = cpu;
    }
  }
  hwloc_topology_destroy(topology);
  return picked;
}

bool pin_this_thread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  return pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0;
}

void pass(Line& line, uint64_t sequence, const unsigned char* payload) noexcept {
  copy_to_shared(line.payload, payload, kPayloadBytes);
  publish(line.sequence, sequence);
}

uint64_t await(const Line& line, uint64_t sequence, bool yields) noexcept {
  for (;;) {
    const uint64_t seen = observe(line.sequence);
    if (seen == sequence || seen == kStop) return seen;
    if (yields) sched_yield();
  }
}

void echo(Exchange& lines, int cpu, bool yields) {
  if (!yields) (void)pin_this_thread(cpu);
  unsigned char payload[kPayloadBytes];
  for (uint64_t sequence = 1;; ++sequence) {
    if (await(lines.there, sequence, yields) == kStop) return;
    copy_from_shared(payload, lines.there.payload, kPayloadBytes);
    pass(lines.back, sequence, payload);
  }
}

void ping(Exchange& lines, const TickClock& clock, int cpu, LineRtt& result) {
  const bool yields = !result.two_cores;
  if (!yields && !pin_this_thread(cpu)) result.note = "the threads could not be pinned";
  unsigned char payload[kPayloadBytes];
  std::memset(payload, 0x5a, kPayloadBytes);
  const uint64_t warm_ns = clock.now_ns() + kWarmupNs;
  const auto enough = [&](uint64_t now_ns) {
    return now_ns >= warm_ns + kMeasureNsMax ||
           (now_ns >= warm_ns + kMeasureNs && result.histogram.count() >= kRoundTripsMin);
  };
  uint64_t done_ns = 0;
  for (uint64_t sequence = 1; !enough(done_ns); ++sequence) {
    const uint64_t start_ns = clock.now_ns();
    pass(lines.there, sequence, payload);
    (void)await(lines.back, sequence, yields);
    done_ns = clock.now_ns();
    copy_from_shared(payload, lines.back.payload, kPayloadBytes);
    if (start_ns >= warm_ns) result.histogram.record(done_ns - start_ns);
  }
  publish(lines.there.sequence, kStop);
  if (result.two_cores && result.histogram.count() < kRoundTripsMin) {
    result.note = "the machine is too busy: the two threads hardly ever ran at the same time";
  }
}

}  // namespace

LineRtt measure_line_rtt(const TickClock& clock) {
  LineRtt result;
  const auto cpus = pick_cpus();
  result.two_cores = cpus.has_value();
  if (!cpus) result.note = "one core only: the two threads yield to each other";
  const auto lines = std::make_unique<Exchange>();
  // Both in threads of their own: this one keeps its affinity.
  std::thread answers([&] { echo(*lines, cpus ? cpus->second : 0, !cpus); });
  std::thread asks([&] { ping(*lines, clock, cpus ? cpus->first : 0, result); });
  asks.join();
  answers.join();
  result.p50_ns = result.histogram.percentile_ns(50);
  return result;
}

}  // namespace copykv::bench
