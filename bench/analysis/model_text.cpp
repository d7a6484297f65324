// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <iterator>

#include "base/units.hpp"
#include "bench/analysis/model_report.hpp"

namespace copykv::bench::analysis {
namespace {

using Out = std::back_insert_iterator<std::string>;

std::string duration(double seconds) {
  return round_duration(static_cast<uint64_t>(std::llround(std::max(0.0, seconds * 1e9))));
}

std::string parameter(const Judged& judged, size_t i) {
  const Estimate& p = judged.parameters[i];
  const std::string_view name = parameter_names(judged.model.kind)[i];
  if (judged.model.kind != ModelKind::scalability) {
    return fmt::format("{} {} ({} to {})", name, duration(p.value), duration(p.low),
                       duration(p.high));
  }
  if (i == 0) {
    return fmt::format("{} {} ({} to {})", name, round_count(p.value), round_count(p.low),
                       round_count(p.high));
  }
  return fmt::format("{} {:.4f} ({:.4f} to {:.4f})", name, p.value, p.low, p.high);
}

void print_models(Out out, const ModelReport& report) {
  fmt::format_to(out, "{:<37}{:>10}{:>10}   error at each point when it was left out\n", "model",
                 "held out", "fitted");
  for (const Judged& judged : report.ranked) {
    const std::string held_out =
        std::isnan(judged.held_out_rms) ? "-" : fmt::format("{:.1f} %", 100 * judged.held_out_rms);
    fmt::format_to(out, "{:<37}{:>10}{:>8.1f} %  ", name_of(judged.model.kind), held_out,
                   100 * judged.model.fit_error);
    for (const HeldOut& point : judged.held_out) {
      fmt::format_to(out, " {:g}: {:+.1f} %", point.customers, 100 * point.error);
    }
    fmt::format_to(out, "\n    ");
    for (size_t i = 0; i < judged.parameters.size(); ++i) {
      fmt::format_to(out, "{}{}", i > 0 ? ", " : "", parameter(judged, i));
    }
    fmt::format_to(out, "\n");
  }
}

void print_saturation(Out out, const Saturation& saturation) {
  for (const StationVerdict& station : saturation.stations) {
    fmt::format_to(out, "{:<20} busy {:>5.1f} %  demand {:>8} per operation, halved: {:+.1f} %\n",
                   station.name, 100 * station.utilisation, duration(station.demand_s),
                   100 * station.gain_if_halved);
  }
  fmt::format_to(out, "saturated station: {} ({})\n",
                 saturation.named.empty() ? "not named" : saturation.named, saturation.why);
}

}  // namespace

std::string to_text(const Series& series, const ModelReport& report) {
  std::string text;
  const Out out(text);
  fmt::format_to(out, "{}\n  {}\n", series.name, series.points.front().conditions.caption());
  fmt::format_to(out, "{:<10}{:>14}{:>14}\n", "customers", "ops/s per rank", "cycle N/X");
  for (const LoadPoint& point : report.points) {
    fmt::format_to(out, "{:<10g}{:>14}{:>14}\n", point.customers, round_count(point.rate_per_s),
                   duration(point.customers / point.rate_per_s));
  }
  if (report.points.size() < 2) {
    fmt::format_to(out, "one load: no model can be fitted; sweep --client-threads\n");
    return text;
  }
  print_models(out, report);
  fmt::format_to(out, "knee N* = X_max (R1 + Z) = {:.1f} customers of a rank{}\n", report.knee,
                 report.knee_measured ? ""
                                      : "; no load well beyond it was measured, so X_max is only "
                                        "the fastest seen");
  print_saturation(out, report.saturation);
  fmt::format_to(out, "models hold up to {:g} customers, {:g} x the largest measured load\n",
                 kExtrapolationMax * report.customers_max(), kExtrapolationMax);
  return text;
}

}  // namespace copykv::bench::analysis
