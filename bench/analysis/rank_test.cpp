// SPDX-License-Identifier: Apache-2.0
#include "bench/analysis/rank_test.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace copykv::bench::analysis {
namespace {

constexpr size_t kExactMax = 16;

struct Ranked {
  std::vector<double> ranks{};  ///< those of the first set, then those of the second
  double tie_term = 0;          ///< sum of t^3 - t over groups of t equal values
};

Ranked rank_all(std::span<const double> first, std::span<const double> second) {
  std::vector<double> all(first.begin(), first.end());
  all.insert(all.end(), second.begin(), second.end());
  std::vector<double> sorted = all;
  std::sort(sorted.begin(), sorted.end());
  Ranked ranked;
  for (const double value : all) {
    const auto [begin, end] = std::equal_range(sorted.begin(), sorted.end(), value);
    const auto below = static_cast<double>(begin - sorted.begin());
    const auto equal = static_cast<double>(end - begin);
    ranked.ranks.push_back(below + (equal + 1) / 2);
    ranked.tie_term += equal * equal - 1;
  }
  return ranked;
}

// Share of all ways to divide the ranks whose sum is at least as far from the middle.
double exact_p(const std::vector<double>& ranks, size_t second_count, double distance) {
  const size_t n = ranks.size();
  const double middle = static_cast<double>(second_count * (n + 1)) / 2;
  uint64_t divisions = 0;
  uint64_t as_far = 0;
  for (uint32_t chosen = 0; chosen < (uint32_t{1} << n); ++chosen) {
    if (static_cast<size_t>(std::popcount(chosen)) != second_count) continue;
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += (chosen >> i & 1) != 0 ? ranks[i] : 0;
    ++divisions;
    as_far += std::abs(sum - middle) >= distance - 1e-9 ? 1 : 0;
  }
  return static_cast<double>(as_far) / static_cast<double>(divisions);
}

double choose(size_t n, size_t k) {
  const auto gamma = [](size_t x) { return std::lgamma(static_cast<double>(x) + 1); };
  return std::exp(gamma(n) - gamma(k) - gamma(n - k));
}

}  // namespace

RankTest mann_whitney(std::span<const double> first, std::span<const double> second) {
  RankTest test;
  if (first.empty() || second.empty()) return test;
  const Ranked ranked = rank_all(first, second);
  const auto m = static_cast<double>(second.size());
  const auto n = static_cast<double>(first.size() + second.size());
  double sum = 0;
  for (size_t i = first.size(); i < ranked.ranks.size(); ++i) sum += ranked.ranks[i];
  test.u = sum - m * (m + 1) / 2;
  test.p_least = std::min(1.0, 2 / choose(ranked.ranks.size(), second.size()));
  const double distance = std::abs(sum - m * (n + 1) / 2);
  test.exact = ranked.ranks.size() <= kExactMax;
  if (test.exact) {
    test.p_value = exact_p(ranked.ranks, second.size(), distance);
    return test;
  }
  const double product = static_cast<double>(first.size()) * m;
  const double variance = product / 12 * (n + 1 - ranked.tie_term / (n * (n - 1)));
  if (variance <= 0) return test;
  const double z = std::max(0.0, distance - 0.5) / std::sqrt(variance);
  test.p_value = std::erfc(z / std::sqrt(2.0));
  return test;
}

}  // namespace copykv::bench::analysis
