// SPDX-License-Identifier: Apache-2.0
#include "bench/analysis/gap.hpp"

#include <algorithm>

namespace copykv::bench::analysis {

CycleParts cycle_parts(const Point& point) {
  CycleParts parts;
  Latency local;
  Latency remote;
  double customer_ns = 0;
  double operations = 0;
  const Conditions& c = point.conditions;
  for (const RunFigures& run : point.runs) {
    if (run.rate_per_s <= 0) continue;
    customer_ns += run.operations * 1e9 * c.customers() * c.ranks / run.rate_per_s;
    operations += run.operations;
    Latency l = run.local();
    Latency r = run.remote();
    l.bins.clear();
    r.bins.clear();
    local += l;
    remote += r;
  }
  const double counted = local.count + remote.count;
  if (operations <= 0 || counted <= 0) return parts;
  parts.known = true;
  parts.cycle_ns = customer_ns / operations;
  parts.remote_share = remote.count / counted;
  parts.remote_ns = remote.mean_ns;
  parts.local_ns = local.count > 0 ? local.mean_ns : remote.mean_ns;
  parts.latency_ns = (local.count * local.mean_ns + remote.count * remote.mean_ns) / counted;
  parts.think_ns = parts.cycle_ns - parts.latency_ns;
  return parts;
}

std::vector<Named> cycle_gap(const Point& base, const Point& changed) {
  const CycleParts a = cycle_parts(base);
  const CycleParts b = cycle_parts(changed);
  if (!a.known || !b.known) return {};
  const auto extra = [](const CycleParts& p) {
    return p.remote_share > 0 ? p.remote_share * (p.remote_ns - p.local_ns) : 0;
  };
  return {{"client, between operations", b.think_ns - a.think_ns},
          {"operations on local keys", b.local_ns - a.local_ns},
          {"being remote, x its share", extra(b) - extra(a)}};
}

std::vector<Named> station_means(const Point& point) {
  std::vector<Named> means;
  double count = 0;
  for (const RunFigures& run : point.runs) {
    if (run.stations.empty()) continue;
    const double added = run.stations.front().time.count;
    for (size_t i = 0; i < run.stations.size(); ++i) {
      const Station& station = run.stations[i];
      if (means.size() <= i) means.push_back({station.name, 0});
      means[i].value =
          (means[i].value * count + station.time.mean_ns * added) / std::max(1.0, count + added);
    }
    count += added;
  }
  return means;
}

std::vector<Named> station_gap(const Point& base, const Point& changed) {
  std::vector<Named> gap = station_means(changed);
  const std::vector<Named> before = station_means(base);
  if (before.size() != gap.size()) return {};
  for (size_t i = 0; i < gap.size(); ++i) gap[i].value -= before[i].value;
  return gap;
}

}  // namespace copykv::bench::analysis
