// SPDX-License-Identifier: Apache-2.0
#include "bench/analysis/closed_models.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "bench/simplex.hpp"

namespace copykv::bench::analysis {
namespace {

// One station that all pass, and the rest without queues.
double rate_of_one_station(double cycle_alone_s, double demand_s, Service service,
                           double customers) {
  const Network network{std::max(0.0, cycle_alone_s - demand_s), {demand_s}, service};
  const double whole = std::floor(customers);
  const double low = mean_values(network, static_cast<uint32_t>(whole)).rate_per_s;
  if (whole == customers) return low;
  const double high = mean_values(network, static_cast<uint32_t>(whole) + 1).rate_per_s;
  return low + (customers - whole) * (high - low);
}

double predict(ModelKind kind, std::span<const double> p, double n) {
  switch (kind) {
    case ModelKind::bounds:
      return asymptotic_bounds(p[0], p[1], n).rate_max_per_s;
    case ModelKind::mva:
      return rate_of_one_station(p[0], p[1], Service::exponential, n);
    case ModelKind::mva_fixed:
      return rate_of_one_station(p[0], p[1], Service::fixed, n);
    case ModelKind::batch:
      return n / (p[0] + p[1] * n);
    case ModelKind::scalability:
      break;
  }
  return p[0] * n / (1 + p[1] * (n - 1) + p[2] * n * (n - 1));
}

// Where a search may start: at the first and the last point.
std::vector<std::vector<double>> starts_of(ModelKind kind, std::span<const LoadPoint> points) {
  double alone_s = 0;
  double fastest = 0;
  for (const LoadPoint& point : points) {
    const double cycle_s = point.customers / point.rate_per_s;
    alone_s = alone_s > 0 ? std::min(alone_s, cycle_s) : cycle_s;
    fastest = std::max(fastest, point.rate_per_s);
  }
  if (kind == ModelKind::scalability) {
    return {{1 / alone_s, 0.05, 1e-3}, {1 / alone_s, 1e-3, 1e-5}, {1 / alone_s, 0.3, 1e-6}};
  }
  return {{alone_s, 1 / fastest}, {alone_s, 0.5 / fastest}, {alone_s, 0.1 / fastest}};
}

// Starts over from where it ended, with a smaller simplex: a flat one can stop short of the least.
double descend(const std::function<double(const std::vector<double>&)>& error_of,
               std::vector<double>& at) {
  constexpr double kLogBound = 40;
  constexpr uint32_t kEvaluations = 250;
  const std::vector<Bound> bounds(at.size(), {-kLogBound, kLogBound});
  double least = INFINITY;
  for (const double step : {0.3, 0.1, 0.03, 0.01}) {
    Least found = find_least(error_of, at, bounds, step / (2 * kLogBound), kEvaluations);
    if (found.value <= least) at = std::move(found.at);
    least = std::min(least, found.value);
  }
  return least;
}

}  // namespace

Solution mean_values(const Network& network, uint32_t customers) {
  const size_t stations = network.demands_s.size();
  Solution solution;
  solution.residence_s.assign(stations, 0);
  solution.utilisation.assign(stations, 0);
  std::vector<double> queue(stations, 0);
  double demand_max_s = 0;
  for (const double demand_s : network.demands_s) demand_max_s = std::max(demand_max_s, demand_s);
  for (uint32_t n = 1; n <= customers; ++n) {
    double response_s = 0;
    for (size_t k = 0; k < stations; ++k) {
      const double half_served =
          network.service == Service::fixed ? solution.utilisation[k] / 2 : 0;
      solution.residence_s[k] = network.demands_s[k] * (1 + queue[k] - half_served);
      response_s += solution.residence_s[k];
    }
    const double cycle_s = network.delay_s + response_s;
    solution.rate_per_s = cycle_s > 0 ? n / cycle_s : 0;
    if (demand_max_s > 0) solution.rate_per_s = std::min(solution.rate_per_s, 1 / demand_max_s);
    solution.response_s = n / std::max(solution.rate_per_s, 1e-300) - network.delay_s;
    for (size_t k = 0; k < stations; ++k) {
      queue[k] = solution.rate_per_s * solution.residence_s[k];
      solution.utilisation[k] = solution.rate_per_s * network.demands_s[k];
    }
  }
  return solution;
}

Bounds asymptotic_bounds(double cycle_alone_s, double demand_max_s, double customers) {
  return {std::min(customers / cycle_alone_s, 1 / demand_max_s), cycle_alone_s / demand_max_s};
}

std::string_view name_of(ModelKind kind) noexcept {
  switch (kind) {
    case ModelKind::bounds:
      return "asymptotic bounds";
    case ModelKind::mva:
      return "mean value analysis";
    case ModelKind::mva_fixed:
      return "mean value analysis, fixed service";
    case ModelKind::batch:
      return "batch T = a + b n";
    case ModelKind::scalability:
      break;
  }
  return "universal scalability law";
}

std::vector<std::string_view> parameter_names(ModelKind kind) {
  if (kind == ModelKind::scalability) return {"rate alone", "contention", "coherence"};
  if (kind == ModelKind::batch) return {"a", "b"};
  return {"cycle alone", "demand"};
}

double Model::rate_at(double customers) const {
  return parameters.empty() ? 0 : predict(kind, parameters, customers);
}

double Model::rate_max_per_s(double customers_max) const {
  double best = 0;
  for (double n = 1; n <= customers_max; ++n) best = std::max(best, rate_at(n));
  return best;
}

Model fit(ModelKind kind, std::span<const LoadPoint> points) {
  Model model{kind, {}, 0};
  const auto usable = [](const LoadPoint& p) { return p.customers > 0 && p.rate_per_s > 0; };
  if (points.size() < parameter_names(kind).size() ||
      !std::all_of(points.begin(), points.end(), usable)) {
    return model;
  }
  // Parameters are positive, and differ by orders of magnitude: their logarithms are searched.
  const auto error_of = [&](const std::vector<double>& logs) {
    std::vector<double> parameters;
    parameters.reserve(logs.size());
    for (const double log : logs) parameters.push_back(std::exp(log));
    double sum = 0;
    for (const LoadPoint& point : points) {
      const double off = std::log(predict(kind, parameters, point.customers) / point.rate_per_s);
      sum += off * off;
    }
    return sum;
  };
  double best = INFINITY;
  for (std::vector<double> start : starts_of(kind, points)) {
    for (double& value : start) value = std::log(value);
    const double found = descend(error_of, start);
    if (found >= best) continue;
    best = found;
    model.parameters.clear();
    for (const double log : start) model.parameters.push_back(std::exp(log));
  }
  model.fit_error = std::sqrt(best / static_cast<double>(points.size()));
  return model;
}

}  // namespace copykv::bench::analysis
