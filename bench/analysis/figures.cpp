// SPDX-License-Identifier: Apache-2.0
// Sums over latencies, and what describes conditions.
#include <fmt/format.h>

#include <algorithm>

#include "bench/analysis/documents.hpp"

namespace copykv::bench::analysis {
namespace {

double percentile(const std::vector<Bin>& bins, double count, double percent) {
  if (bins.empty()) return kUnknown;
  double seen = 0;
  for (const Bin& bin : bins) {
    seen += bin.count;
    if (seen >= count * percent / 100) return bin.high_ns;
  }
  return bins.back().high_ns;
}

std::vector<Bin> merged(const std::vector<Bin>& a, const std::vector<Bin>& b) {
  std::vector<Bin> all;
  std::merge(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(all),
             [](const Bin& x, const Bin& y) { return x.high_ns < y.high_ns; });
  std::vector<Bin> bins;
  for (const Bin& bin : all) {
    if (!bins.empty() && bins.back().high_ns == bin.high_ns) {
      bins.back().count += bin.count;
    } else {
      bins.push_back(bin);
    }
  }
  return bins;
}

Latency sum_of(const std::vector<Station>& causes, std::string_view ending) {
  Latency sum;
  for (const Station& cause : causes) {
    if (cause.name.ends_with(ending)) sum += cause.time;
  }
  return sum;
}

}  // namespace

Latency& Latency::operator+=(const Latency& other) {
  if (other.count <= 0) return *this;
  if (count <= 0) return *this = other;
  mean_ns = (mean_ns * count + other.mean_ns * other.count) / (count + other.count);
  count += other.count;
  max_ns = std::max(max_ns, other.max_ns);
  bins = bins.empty() || other.bins.empty() ? std::vector<Bin>{} : merged(bins, other.bins);
  p50_ns = percentile(bins, count, 50);
  p90_ns = percentile(bins, count, 90);
  p99_ns = percentile(bins, count, 99);
  p999_ns = percentile(bins, count, 99.9);
  return *this;
}

Latency RunFigures::local() const {
  return sum_of(causes, "_local");
}

Latency RunFigures::remote() const {
  return sum_of(causes, "_remote");
}

std::string Conditions::caption() const {
  const std::string_view kind = published ? "published" : simulated ? "simulated" : "measured";
  std::string text = fmt::format(
      "{}, {}", kind,
      ranks == 1 && transport == "none" ? std::string("no network") : "transport " + transport);
  if (!profile.empty()) text += ", profile " + profile;
  if (!cpu.empty()) text += ", " + cpu;
  if (!commit.empty()) text += ", commit " + commit;
  return text;
}

bool Point::failed() const {
  return std::any_of(runs.begin(), runs.end(),
                     [](const RunFigures& run) { return !run.failures.empty(); });
}

}  // namespace copykv::bench::analysis
