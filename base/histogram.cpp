// SPDX-License-Identifier: Apache-2.0
#include "base/histogram.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace copykv {
namespace {

constexpr double kTicksPerHalfDistance = 5;

// The next percentile to print: five steps, then the distance to 100 % halves, and so on.
double next_level(double level) noexcept {
  const double halvings = std::floor(std::log2(100.0 / (100.0 - level))) + 1;
  return level + 100.0 / (kTicksPerHalfDistance * std::exp2(halvings));
}

}  // namespace

Histogram& Histogram::operator+=(const Histogram& other) noexcept {
  for (size_t bucket = 0; bucket < kBucketCount; ++bucket) {
    counts_[bucket] += other.counts_[bucket];
  }
  count_ += other.count_;
  add_totals(other.sum_ns_, other.max_ns_);
  return *this;
}

void Histogram::clear() noexcept {
  std::fill(counts_.begin(), counts_.end(), 0);
  count_ = sum_ns_ = max_ns_ = 0;
}

double Histogram::mean_ns() const noexcept {
  return count_ == 0 ? 0.0 : static_cast<double>(sum_ns_) / static_cast<double>(count_);
}

double Histogram::standard_deviation_ns() const noexcept {
  if (count_ == 0) return 0;
  const double mean = mean_ns();
  double squares = 0;
  for_each_bucket([&](uint64_t upper_ns, uint64_t times) {
    const double distance = static_cast<double>(std::min(upper_ns, max_ns_)) - mean;
    squares += distance * distance * static_cast<double>(times);
  });
  return std::sqrt(squares / static_cast<double>(count_));
}

uint64_t Histogram::percentile_ns(double percent) const noexcept {
  // One step down first, or 99.9 % of 1,000 values becomes rank 1,000 by rounding.
  const double below = std::nextafter(std::clamp(percent, 0.0, 100.0), 0.0);
  const double exact_rank = std::ceil(below / 100.0 * static_cast<double>(count_));
  const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(exact_rank), 1, count_ | 1);
  uint64_t passed = 0;
  for (size_t bucket = 0; bucket < kBucketCount; ++bucket) {
    passed += counts_[bucket];
    if (passed >= rank) return std::min(upper_ns_of(bucket), max_ns_);
  }
  return max_ns_;
}

std::string Histogram::to_hgrm(double value_scale) const {
  std::string text = fmt::format("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile",
                                 "TotalCount", "1/(1-Percentile)");
  const auto out = std::back_inserter(text);
  const auto scaled = [&](uint64_t ns) { return static_cast<double>(ns) / value_scale; };
  double level = 0;
  uint64_t passed = 0;
  for_each_bucket([&](uint64_t upper_ns, uint64_t times) {
    passed += times;
    const double reached = 100.0 * static_cast<double>(passed) / static_cast<double>(count_);
    const double value = scaled(std::min(upper_ns, max_ns_));
    // The last bucket reaches every level: one line of it, the 100 % line follows.
    for (bool more = true; more && reached >= level; level = next_level(level)) {
      fmt::format_to(out, "{:12.3f} {:2.12f} {:10} {:14.2f}\n", value, level / 100, passed,
                     100.0 / (100.0 - level));
      more = passed < count_;
    }
  });
  if (count_ > 0) fmt::format_to(out, "{:12.3f} {:2.12f} {:10}\n", scaled(max_ns_), 1.0, count_);
  fmt::format_to(out, "#[Mean    = {:12.3f}, StdDeviation   = {:12.3f}]\n", mean_ns() / value_scale,
                 standard_deviation_ns() / value_scale);
  fmt::format_to(out, "#[Max     = {:12.3f}, Total count    = {:12}]\n", scaled(max_ns_), count_);
  fmt::format_to(out, "#[Buckets = {:12}, SubBuckets     = {:12}]\n",
                 kValueBits - kSubBucketBits + 1, 1U << kSubBucketBits);
  return text;
}

}  // namespace copykv
