// SPDX-License-Identifier: Apache-2.0
#include "bench/distribution.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/units.hpp"

namespace copykv::bench {
namespace {

Failure bad_distribution(std::string_view text) {
  return Failure{fmt::format(
      "distribution '{}': write uniform, zipfian:THETA (0 < THETA < 1), latest or hotspot:SET,OPS "
      "(fractions between 0 and 1)",
      text)};
}

// A fraction strictly between 0 and 1.
bool parse_fraction(std::string_view text, double& fraction) {
  const Outcome<double> number = parse_number(text);
  if (!number || *number <= 0 || *number >= 1) return false;
  fraction = *number;
  return true;
}

}  // namespace

Outcome<Distribution> Distribution::parse(std::string_view text) {
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string_view name = text.substr(0, colon);
  const bool has_argument = colon < text.size();
  const std::string_view argument = has_argument ? text.substr(colon + 1) : std::string_view();
  Distribution made;
  if (name == "uniform" && !has_argument) return made;
  if (name == "latest" && !has_argument) {
    made.kind = Kind::latest;
    return made;
  }
  if (name == "zipfian") {
    made.kind = Kind::zipfian;
    if (has_argument && !parse_fraction(argument, made.theta)) return bad_distribution(text);
    return made;
  }
  if (name == "hotspot") {
    made.kind = Kind::hotspot;
    const size_t comma = argument.find(',');
    if (comma == std::string_view::npos ||
        !parse_fraction(argument.substr(0, comma), made.hot_set) ||
        !parse_fraction(argument.substr(comma + 1), made.hot_operations)) {
      return bad_distribution(text);
    }
    return made;
  }
  return bad_distribution(text);
}

double zeta(uint64_t n, double theta) noexcept {
  constexpr uint64_t kExactTerms = 1000;
  double sum = 0;
  const uint64_t exact = std::min(n, kExactTerms);
  for (uint64_t i = 1; i <= exact; ++i) sum += std::pow(static_cast<double>(i), -theta);
  if (exact == n) return sum;
  const auto from = static_cast<double>(exact);
  const auto to = static_cast<double>(n);
  const double integral = (std::pow(to, 1 - theta) - std::pow(from, 1 - theta)) / (1 - theta);
  const double ends = (std::pow(to, -theta) - std::pow(from, -theta)) / 2;
  const double slope = -theta * (std::pow(to, -theta - 1) - std::pow(from, -theta - 1)) / 12;
  return sum + integral + ends + slope;
}

Zipfian::Zipfian(uint64_t n, double theta) noexcept
    : n_(n), zeta_n_(zeta(n, theta)), zeta_2_(zeta(2, theta)), alpha_(1 / (1 - theta)), eta_(0) {
  // With one or two keys draw() never comes to the power.
  if (n > 2) {
    eta_ = (1 - std::pow(2.0 / static_cast<double>(n), 1 - theta)) / (1 - zeta_2_ / zeta_n_);
  }
}

KeyDraw::KeyDraw(const Distribution& distribution, uint64_t n) noexcept
    : kind_(distribution.kind),
      n_(n),
      hot_set_(std::clamp<uint64_t>(
          static_cast<uint64_t>(static_cast<double>(n) * distribution.hot_set), 1, n)),
      hot_operations_(distribution.hot_operations),
      zipfian_(n, distribution.theta),
      scatter_(n) {}

Scatter::Scatter(uint64_t n) noexcept : n_(n) {
  // Near the golden section, so that successive ranks spread evenly.
  stride_ = static_cast<uint64_t>(static_cast<double>(n) * 0.6180339887498949) | 1;
  while (std::gcd(stride_, n_) != 1) ++stride_;
}

}  // namespace copykv::bench
