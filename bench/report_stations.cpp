// SPDX-License-Identifier: Apache-2.0
// Where the time of a run went: stations of requests; of a simulated one also how busy each
// resource was, and turns and batches by what they carried.
#include <fmt/format.h>

#include <cmath>
#include <iterator>

#include "base/units.hpp"
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

Json clock_json(const ClockPair& pair) {
  Json windows = Json::array();
  for (const OffsetWindow& window : pair.windows) {
    windows.push_back({{"from_ns", window.from_ns},
                       {"offset_ns", window.offset_ns},
                       {"error_ns", window.error_ns},
                       {"fits_all", window.fits_all}});
  }
  const OffsetWindow& first = pair.windows.front();
  const OffsetWindow& last = pair.windows.back();
  return {{"rank", pair.rank},
          {"other", pair.other},
          {"offset_ns", first.offset_ns},
          {"error_ns", pair.error_ns_max()},
          {"drift_ns", last.offset_ns - first.offset_ns},
          {"fits_all", pair.fits_all()},
          {"requests", pair.requests},
          {"windows", std::move(windows)}};
}

template <size_t N>
void print_parts(std::string& text, const std::array<std::string_view, N>& names,
                 const std::array<Histogram, N>& parts, const Histogram& total) {
  const auto out = std::back_inserter(text);
  const auto row = [&](std::string_view name, const Histogram& part) {
    const double share = total.sum_ns() > 0 ? 100 * static_cast<double>(part.sum_ns()) /
                                                  static_cast<double>(total.sum_ns())
                                            : 0;
    fmt::format_to(out, "{:<24}{:>10}{:>10}{:>10}{:>9.1f} %\n", name,
                   round_duration(static_cast<uint64_t>(std::llround(part.mean_ns()))),
                   round_duration(part.percentile_ns(50)), round_duration(part.percentile_ns(99)),
                   share);
  };
  fmt::format_to(out, "\n{:<24}{:>10}{:>10}{:>10}{:>11}\n", "remote, by station", "mean", "p50",
                 "p99", "share");
  for (size_t part = 0; part < N; ++part) row(names[part], parts[part]);
  row("latency", total);
}

void print_sampling(std::string& text, const RealStationReport& report) {
  const auto out = std::back_inserter(text);
  fmt::format_to(out, "{} of {} sampled requests, {} lost, {} out of order\n",
                 format_count(report.total.count()), format_count(report.sampled),
                 format_count(report.lost()), format_count(report.out_of_order));
  for (const ClockPair& pair : report.clocks) {
    fmt::format_to(out, "clock of rank {} ahead of rank {}'s by {} ns, +- {} ns", pair.other,
                   pair.rank, pair.windows.front().offset_ns, pair.error_ns_max());
    if (pair.windows.size() > 1) {
      fmt::format_to(out, "; they drift: {} windows, {} ns at the end", pair.windows.size(),
                     pair.windows.back().offset_ns);
    }
    fmt::format_to(out, "{}\n", pair.fits_all() ? "" : "; NOT consistent within some windows");
  }
}

}  // namespace

Json real_stations_json(const RunResult& run, uint32_t every, bool with_buckets) {
  const RealStationReport& report = *run.real_stations;
  Json clocks = Json::array();
  for (const ClockPair& pair : report.clocks) clocks.push_back(clock_json(pair));
  return {{"remote", way_of(kRealStations, report.parts, report.total, with_buckets)},
          {"every", every},
          {"sampled", report.sampled},
          {"lost", report.lost()},
          {"out_of_order", report.out_of_order},
          {"clocks", std::move(clocks)}};
}

std::string stations_table(const RunResult& run) {
  std::string text;
  if (run.stations != nullptr && run.stations->remote_total.count() > 0) {
    print_parts(text, sim::kRemoteStations, run.stations->remote, run.stations->remote_total);
  }
  if (run.real_stations != nullptr) {
    print_parts(text, kRealStations, run.real_stations->parts, run.real_stations->total);
    print_sampling(text, *run.real_stations);
  }
  return text;
}

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
