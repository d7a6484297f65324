// SPDX-License-Identifier: Apache-2.0
#include "bench/analysis/mixture.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace copykv::bench::analysis {
namespace {

constexpr uint32_t kIterationsMax = 400;
constexpr double kConverged = 1e-9;  // relative change of the likelihood
constexpr double kAshmanApart = 2;
constexpr double kWeightLeast = 0.02;
constexpr double kBicStrong = 10;  // Kass & Raftery 1995: very strong evidence

struct Place {
  double at = 0;
  double count = 0;
  double log_jacobian = 0;  ///< from a density of the logarithm to one of the latency
  double width = 0;
};

std::vector<Place> places_of(std::span<const Bin> bins, bool logarithmic) {
  std::vector<Place> places;
  for (const Bin& bin : bins) {
    if (bin.count <= 0) continue;
    const double middle = std::max((bin.low_ns + bin.high_ns) / 2, 0.5);
    const double width = std::max(bin.high_ns - bin.low_ns, 1.0);
    if (logarithmic) {
      places.push_back({std::log(middle), bin.count, -std::log(middle), width / middle});
    } else {
      places.push_back({middle, bin.count, 0, width});
    }
  }
  return places;
}

double normal(double at, const Component& c) {
  const double z = (at - c.centre) / c.width;
  return std::exp(-z * z / 2) / (c.width * std::sqrt(2 * std::numbers::pi));
}

// No component may become narrower than the bins: a spike on one bin has no likelihood to speak of.
double least_width(const std::vector<Place>& places) {
  double least = INFINITY;
  for (const Place& place : places) least = std::min(least, place.width);
  return std::max(least / std::sqrt(12.0), 1e-6);
}

Component moments(const std::vector<Place>& places, double from, double to, double total) {
  Component c;
  double count = 0;
  double seen = 0;
  double square = 0;
  for (const Place& place : places) {
    const double first = std::max(from, seen);
    const double last = std::min(to, seen + place.count);
    seen += place.count;
    if (last <= first) continue;
    count += last - first;
    c.centre += (last - first) * place.at;
    square += (last - first) * place.at * place.at;
  }
  if (count <= 0) return c;
  c.weight = count / total;
  c.centre /= count;
  c.width = std::sqrt(std::max(0.0, square / count - c.centre * c.centre));
  return c;
}

// One round. Returns the logarithm of the likelihood before it.
double improve(const std::vector<Place>& places, std::vector<Component>& components, double total,
               double narrowest) {
  std::vector<double> count(components.size(), 0);
  std::vector<double> sum(components.size(), 0);
  std::vector<double> square(components.size(), 0);
  double log_likelihood = 0;
  std::vector<double> share(components.size());
  for (const Place& place : places) {
    double density = 0;
    for (size_t k = 0; k < components.size(); ++k) {
      share[k] = components[k].weight * normal(place.at, components[k]);
      density += share[k];
    }
    density = std::max(density, 1e-300);
    log_likelihood += place.count * (std::log(density) + place.log_jacobian);
    for (size_t k = 0; k < components.size(); ++k) {
      const double mine = place.count * share[k] / density;
      count[k] += mine;
      sum[k] += mine * place.at;
      square[k] += mine * place.at * place.at;
    }
  }
  for (size_t k = 0; k < components.size(); ++k) {
    if (count[k] <= 0) continue;
    Component& c = components[k];
    c.weight = count[k] / total;
    c.centre = sum[k] / count[k];
    c.width = std::sqrt(std::max(0.0, square[k] / count[k] - c.centre * c.centre));
    c.width = std::max(c.width, narrowest);
  }
  return log_likelihood;
}

Mixture fit_components(const std::vector<Place>& places, std::vector<Component> start, double total,
                       bool logarithmic) {
  const double narrowest = least_width(places);
  for (Component& c : start) c.width = std::max(c.width, narrowest);
  Mixture mixture{logarithmic, std::move(start), 0, 0};
  double before = -INFINITY;
  for (uint32_t i = 0; i < kIterationsMax; ++i) {
    mixture.log_likelihood = improve(places, mixture.components, total, narrowest);
    if (std::abs(mixture.log_likelihood - before) < kConverged * std::abs(before)) break;
    before = mixture.log_likelihood;
  }
  std::sort(mixture.components.begin(), mixture.components.end(),
            [](const Component& a, const Component& b) { return a.centre < b.centre; });
  const auto parameters = static_cast<double>(3 * mixture.components.size() - 1);
  mixture.bic = parameters * std::log(total) - 2 * mixture.log_likelihood;
  return mixture;
}

const Mixture& better(const Mixture& a, const Mixture& b) {
  return a.bic <= b.bic ? a : b;
}

// The division that the search starts from decides which maximum it finds: several are tried.
Mixture fit_two(const std::vector<Place>& places, double total, bool logarithmic) {
  Mixture best;
  for (const double division : {0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97}) {
    Mixture tried = fit_components(places,
                                   {moments(places, 0, division * total, total),
                                    moments(places, division * total, total, total)},
                                   total, logarithmic);
    if (best.components.empty() || tried.bic < best.bic) best = std::move(tried);
  }
  return best;
}

double ashman(const Mixture& two) {
  const Component& a = two.components[0];
  const Component& b = two.components[1];
  return std::numbers::sqrt2 * (b.centre - a.centre) / std::hypot(a.width, b.width);
}

}  // namespace

double Mixture::peak_ns(const Component& c) const {
  return logarithmic ? std::exp(c.centre - c.width * c.width) : c.centre;
}

double Mixture::density(const Component& c, double at_ns) const {
  if (!logarithmic) return c.weight * normal(at_ns, c);
  return at_ns > 0 ? c.weight * normal(std::log(at_ns), c) / at_ns : 0;
}

PeakAnalysis find_peaks(std::span<const Bin> bins) {
  const std::vector<Place> plain = places_of(bins, false);
  const std::vector<Place> logs = places_of(bins, true);
  double total = 0;
  for (const Place& place : plain) total += place.count;
  PeakAnalysis found;
  if (plain.size() < 3) return found;
  found.one = better(fit_components(plain, {moments(plain, 0, total, total)}, total, false),
                     fit_components(logs, {moments(logs, 0, total, total)}, total, true));
  found.two = better(fit_two(plain, total, false), fit_two(logs, total, true));
  found.ashman_d = ashman(found.two);
  const double smaller = std::min(found.two.components[0].weight, found.two.components[1].weight);
  found.two_peaks = found.one.bic - found.two.bic > kBicStrong && found.ashman_d > kAshmanApart &&
                    smaller >= kWeightLeast;
  return found;
}

}  // namespace copykv::bench::analysis
