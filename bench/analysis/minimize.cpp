// SPDX-License-Identifier: Apache-2.0
#include "bench/analysis/minimize.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace copykv::bench::analysis {
namespace {

constexpr uint32_t kSteps = 600;
constexpr uint32_t kRestarts = 4;
constexpr double kFlat = 1e-15;

using Cost = std::function<double(std::span<const double>)>;

// a + t (b - a)
std::vector<double> between(const std::vector<double>& a, const std::vector<double>& b, double t) {
  std::vector<double> out(a.size());
  for (size_t i = 0; i < a.size(); ++i) out[i] = a[i] + t * (b[i] - a[i]);
  return out;
}

std::vector<double> centre_of(const std::vector<Minimum>& simplex) {
  std::vector<double> centre(simplex.front().at.size(), 0);
  for (size_t corner = 0; corner + 1 < simplex.size(); ++corner) {
    for (size_t i = 0; i < centre.size(); ++i) centre[i] += simplex[corner].at[i];
  }
  for (double& value : centre) value /= static_cast<double>(simplex.size() - 1);
  return centre;
}

// The worst corner moves: through the centre, further, or half way; else all move to the best.
void move_worst(const Cost& cost, std::vector<Minimum>& simplex) {
  Minimum& worst = simplex.back();
  const std::vector<double> centre = centre_of(simplex);
  const auto look = [&](double t) {
    Minimum tried{between(centre, worst.at, t), 0};
    tried.value = cost(tried.at);
    return tried;
  };
  Minimum reflected = look(-1);
  if (reflected.value < simplex.front().value) {
    Minimum further = look(-2);
    worst = further.value < reflected.value ? std::move(further) : std::move(reflected);
  } else if (reflected.value < simplex[simplex.size() - 2].value) {
    worst = std::move(reflected);
  } else {
    Minimum nearer = look(reflected.value < worst.value ? -0.5 : 0.5);
    if (nearer.value < std::min(worst.value, reflected.value)) {
      worst = std::move(nearer);
      return;
    }
    for (size_t corner = 1; corner < simplex.size(); ++corner) {
      simplex[corner].at = between(simplex.front().at, simplex[corner].at, 0.5);
      simplex[corner].value = cost(simplex[corner].at);
    }
  }
}

Minimum descend(const Cost& cost, const std::vector<double>& start, double size) {
  std::vector<Minimum> simplex = {{start, cost(start)}};
  for (size_t i = 0; i < start.size(); ++i) {
    Minimum corner{start, 0};
    corner.at[i] += size;
    corner.value = cost(corner.at);
    simplex.push_back(std::move(corner));
  }
  const auto lower = [](const Minimum& a, const Minimum& b) { return a.value < b.value; };
  for (uint32_t i = 0; i < kSteps; ++i) {
    std::stable_sort(simplex.begin(), simplex.end(), lower);
    if (simplex.back().value - simplex.front().value < kFlat) break;
    move_worst(cost, simplex);
  }
  return *std::min_element(simplex.begin(), simplex.end(), lower);
}

}  // namespace

Minimum minimize(const Cost& cost, std::vector<double> start, double size) {
  Minimum best = descend(cost, start, size);
  for (uint32_t i = 1; i < kRestarts; ++i) {
    Minimum next = descend(cost, best.at, size / (2 * i));
    if (next.value <= best.value) best = std::move(next);
  }
  return best;
}

}  // namespace copykv::bench::analysis
