// SPDX-License-Identifier: Apache-2.0
#include "bench/analysis/model_report.hpp"

#include <algorithm>

namespace copykv::bench::analysis {
namespace {

double worst_if_unknown(double error) {
  return std::isnan(error) ? INFINITY : error;
}

Judged judge_one(ModelKind kind, const std::vector<LoadPoint>& points) {
  Judged judged{fit(kind, points), {}, kUnknown, {}};
  for (const double value : judged.model.parameters) {
    judged.parameters.push_back({value, value, value});
  }
  double sum = 0;
  for (size_t out = 0; out < points.size(); ++out) {
    std::vector<LoadPoint> others = points;
    others.erase(others.begin() + static_cast<ptrdiff_t>(out));
    const Model model = fit(kind, others);
    if (model.parameters.empty() || others.size() <= model.parameters.size()) continue;
    const double error = model.rate_at(points[out].customers) / points[out].rate_per_s - 1;
    judged.held_out.push_back({points[out].customers, error});
    sum += error * error;
    for (size_t i = 0; i < judged.parameters.size(); ++i) {
      Estimate& range = judged.parameters[i];
      range.low = std::min(range.low, model.parameters[i]);
      range.high = std::max(range.high, model.parameters[i]);
    }
  }
  if (!judged.held_out.empty()) {
    judged.held_out_rms = std::sqrt(sum / static_cast<double>(judged.held_out.size()));
  }
  return judged;
}

// Shares of time of the last point: there the busiest is busiest.
std::vector<Named> busy_of(const Point& point) {
  std::vector<Named> busy;
  for (const RunFigures& run : point.runs) {
    for (const Named& station : run.busy) {
      const auto same = [&](const Named& other) { return other.name == station.name; };
      if (std::find_if(busy.begin(), busy.end(), same) != busy.end()) continue;
      const auto share = point.over_runs([&](const RunFigures& other) {
        const auto found = std::find_if(other.busy.begin(), other.busy.end(),
                                        [&](const Named& n) { return n.name == station.name; });
        return found == other.busy.end() ? kUnknown : found->value;
      });
      busy.push_back({station.name, share.median});
    }
  }
  return busy;
}

double halved_gain(const Network& network, size_t station, uint32_t customers) {
  Network changed = network;
  changed.demands_s[station] /= 2;
  const double before = mean_values(network, customers).rate_per_s;
  return before > 0 ? mean_values(changed, customers).rate_per_s / before - 1 : 0;
}

std::string percent(double part) {
  return std::to_string(std::lround(100 * part)) + " %";
}

void name_station(const std::optional<WhatIf>& what_if, Saturation& found) {
  if (found.stations.empty()) {
    found.why =
        "the result holds no busy times of stations: the models below give the rate at "
        "which some station saturates, not which";
    return;
  }
  const StationVerdict& busiest = found.stations.front();
  const bool most = std::all_of(
      found.stations.begin(), found.stations.end(),
      [&](const StationVerdict& s) { return s.gain_if_halved <= busiest.gain_if_halved; });
  if (busiest.utilisation < kBusyNamed) {
    found.why = "no station is busy for " + percent(kBusyNamed) + " of the time; the busiest, " +
                busiest.name + ", for " + percent(busiest.utilisation);
  } else if (!most || busiest.gain_if_halved < kGainNamed) {
    found.why = busiest.name + " is busy for " + percent(busiest.utilisation) +
                ", but halving it would bring only " + percent(busiest.gain_if_halved) +
                ": utilisation law and what-if disagree";
  } else if (what_if && what_if->station == busiest.name && what_if->gain < kGainNamed) {
    found.why = busiest.name + " is busy for " + percent(busiest.utilisation) +
                ", but the run with it made cheaper brought only " + percent(what_if->gain);
  } else if (what_if && what_if->station != busiest.name && what_if->gain >= kGainNamed) {
    found.why = busiest.name + " is busy for " + percent(busiest.utilisation) + ", but making " +
                what_if->station + " cheaper brought " + percent(what_if->gain);
  } else {
    found.named = busiest.name;
    found.why = "busy for " + percent(busiest.utilisation) +
                " of the time; halving it would bring " + percent(busiest.gain_if_halved) +
                " by mean value analysis";
    if (what_if && what_if->station == busiest.name) {
      found.why += ", and a run with it made cheaper brought " + percent(what_if->gain);
    }
  }
}

}  // namespace

double ModelReport::customers_max() const {
  double most = 0;
  for (const LoadPoint& point : points) most = std::max(most, point.customers);
  return most;
}

std::vector<LoadPoint> load_points(const Series& series) {
  std::vector<LoadPoint> points;
  for (const Point& point : series.points) {
    const double rate = point.rate().median / point.conditions.ranks;
    if (rate > 0) points.push_back({point.conditions.customers(), rate});
  }
  return points;
}

std::vector<Judged> judge_models(const std::vector<LoadPoint>& points) {
  std::vector<Judged> ranked;
  for (const ModelKind kind : kModels) {
    if (points.size() < parameter_names(kind).size()) continue;
    ranked.push_back(judge_one(kind, points));
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const Judged& a, const Judged& b) {
    return worst_if_unknown(a.held_out_rms) < worst_if_unknown(b.held_out_rms);
  });
  return ranked;
}

Saturation find_saturation(const std::vector<Named>& busy, LoadPoint at, double cycle_alone_s,
                           const std::optional<WhatIf>& what_if) {
  Saturation found;
  Network network{cycle_alone_s, {}, Service::fixed};
  for (const Named& station : busy) {
    network.demands_s.push_back(station.value / at.rate_per_s);
    network.delay_s -= network.demands_s.back();
  }
  network.delay_s = std::max(0.0, network.delay_s);
  const auto customers = static_cast<uint32_t>(at.customers);
  for (size_t k = 0; k < busy.size(); ++k) {
    found.stations.push_back(
        {busy[k].name, busy[k].value, network.demands_s[k], halved_gain(network, k, customers)});
  }
  std::stable_sort(found.stations.begin(), found.stations.end(),
                   [](const StationVerdict& a, const StationVerdict& b) {
                     return a.utilisation > b.utilisation;
                   });
  name_station(what_if, found);
  return found;
}

ModelReport explain(const Series& series, const std::optional<WhatIf>& what_if) {
  ModelReport report;
  report.points = load_points(series);
  if (report.points.empty()) return report;
  report.ranked = judge_models(report.points);
  report.cycle_alone_s = report.points.front().customers / report.points.front().rate_per_s;
  double fastest = 0;
  for (const LoadPoint& point : report.points) fastest = std::max(fastest, point.rate_per_s);
  report.knee = fastest * report.cycle_alone_s;
  report.knee_measured = report.customers_max() > 1.5 * report.knee;
  report.saturation = find_saturation(busy_of(series.points.back()), report.points.back(),
                                      report.cycle_alone_s, what_if);
  return report;
}

}  // namespace copykv::bench::analysis
