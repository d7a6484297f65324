// SPDX-License-Identifier: Apache-2.0
// Where the time of a simulated run went: stations of requests, how busy each resource was, and
// turns and batches by what they carried.
#include <fmt/format.h>

#include "bench/report.hpp"

namespace copykv::bench {
namespace {

Json part_of(std::string_view name, const Histogram& part, bool with_buckets) {
  Json out = {{"name", name}};
  out.update(to_json(part, with_buckets));
  out["sum_ns"] = part.sum_ns();
  return out;
}

template <size_t N>
Json way_of(const std::array<std::string_view, N>& names, const std::array<Histogram, N>& parts,
            const Histogram& total, bool with_buckets) {
  Json list = Json::array();
  uint64_t sum_ns = 0;
  for (size_t i = 0; i < N; ++i) {
    list.push_back(part_of(names[i], parts[i], with_buckets));
    sum_ns += parts[i].sum_ns();
  }
  return {{"requests", total.count()},
          {"latency", part_of("latency", total, with_buckets)},
          {"parts", std::move(list)},
          {"latency_minus_parts_ns",
           static_cast<int64_t>(total.sum_ns()) - static_cast<int64_t>(sum_ns)}};
}

Json cycles_of(const std::map<uint32_t, sim::Cycle>& cycles) {
  Json list = Json::array();
  for (const auto& [items, cycle] : cycles) {
    list.push_back(
        {items, cycle.count, static_cast<double>(cycle.sum_ns) / static_cast<double>(cycle.count)});
  }
  return list;
}

Json resource(std::string name, uint64_t busy_ns, uint64_t served, double window_ns) {
  const auto busy = static_cast<double>(busy_ns);
  return {{"name", std::move(name)},
          {"busy_fraction", window_ns > 0 ? busy / window_ns : 0},
          {"served", served},
          {"mean_service_ns", served > 0 ? busy / static_cast<double>(served) : 0}};
}

}  // namespace

Json stations_json(const RunResult& run, bool with_buckets) {
  const sim::StationReport& report = *run.stations;
  return {
      {"remote", way_of(sim::kRemoteStations, report.remote, report.remote_total, with_buckets)},
      {"local", way_of(sim::kLocalStations, report.local, report.local_total, with_buckets)},
      {"turns_by_items", cycles_of(report.turns_by_items)},
      {"batches_by_messages", cycles_of(report.batches_by_messages)}};
}

Json resources_json(const RunResult& run) {
  Json list = Json::array();
  const double window_ns = run.measured.seconds() * 1e9;
  for (size_t rank = 0; rank < run.stations->daemons.size(); ++rank) {
    const sim::DaemonWork& work = run.stations->daemons[rank];
    list.push_back(resource(fmt::format("rank{}.daemon", rank), work.busy_ns,
                            work.locals + work.calls + work.answers + work.inbound, window_ns));
    for (size_t queue = 0; queue < work.queues.size(); ++queue) {
      list.push_back(resource(fmt::format("rank{}.send_queue{}", rank, queue),
                              work.queues[queue].sum_ns, work.queues[queue].count, window_ns));
    }
  }
  return list;
}

}  // namespace copykv::bench
