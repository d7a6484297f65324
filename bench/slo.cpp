// SPDX-License-Identifier: Apache-2.0
#include "bench/slo.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "base/units.hpp"

namespace copykv::bench {
namespace {

template <class E>
using Names = std::initializer_list<std::pair<std::string_view, E>>;

template <class E>
std::optional<E> find_name(Names<E> names, std::string_view name) {
  for (const auto& [known, value] : names) {
    if (known == name) return value;
  }
  return std::nullopt;
}

Outcome<double> parse_rate(std::string_view text) {
  double factor = 1;
  if (!text.empty()) {
    switch (text.back()) {
      case 'k':
        factor = 1e3;
        break;
      case 'M':
        factor = 1e6;
        break;
      case 'G':
        factor = 1e9;
        break;
      default:
        break;
    }
  }
  const Outcome<double> number = parse_number(factor > 1 ? text.substr(0, text.size() - 1) : text);
  if (!number) return Failure{number.error};
  return *number * factor;
}

Outcome<double> parse_limit(Slo::Metric metric, std::string_view text) {
  if (metric == Slo::Metric::ops) return parse_rate(text);
  const Outcome<uint64_t> ns = parse_duration_ns(text, 1);
  if (!ns) return Failure{ns.error};
  return static_cast<double>(*ns);
}

Histogram pick(Slo::Series series, const Latencies& latencies) {
  switch (series) {
    case Slo::Series::get:
      return latencies.gets();
    case Slo::Series::put:
      return latencies.puts();
    case Slo::Series::all:
      break;
  }
  return latencies.all();
}

double metric_of(Slo::Metric metric, const Histogram& histogram, double seconds) {
  switch (metric) {
    case Slo::Metric::p50:
      return static_cast<double>(histogram.percentile_ns(50));
    case Slo::Metric::p90:
      return static_cast<double>(histogram.percentile_ns(90));
    case Slo::Metric::p99:
      return static_cast<double>(histogram.percentile_ns(99));
    case Slo::Metric::p999:
      return static_cast<double>(histogram.percentile_ns(99.9));
    case Slo::Metric::max:
      return static_cast<double>(histogram.max_ns());
    case Slo::Metric::mean:
      return histogram.mean_ns();
    case Slo::Metric::ops:
      break;
  }
  return seconds > 0 ? static_cast<double>(histogram.count()) / seconds : 0;
}

bool holds(Slo::Relation relation, double measured, double limit) noexcept {
  switch (relation) {
    case Slo::Relation::less:
      return measured < limit;
    case Slo::Relation::less_equal:
      return measured <= limit;
    case Slo::Relation::greater:
      return measured > limit;
    case Slo::Relation::greater_equal:
      break;
  }
  return measured >= limit;
}

std::string describe(const SloVerdict& verdict, Slo::Metric metric, bool counted) {
  if (!counted) return fmt::format("{} missed: no such operation was measured", verdict.text);
  const std::string value = metric == Slo::Metric::ops
                                ? round_count(verdict.measured) + " ops/s"
                                : round_duration(static_cast<uint64_t>(verdict.measured));
  if (verdict.met) return fmt::format("{} met: {}", verdict.text, value);
  const double off = verdict.limit > 0 ? 100 * (verdict.measured / verdict.limit - 1) : 0;
  return fmt::format("{} missed: {}, {:.1f} % {}", verdict.text, value, std::abs(off),
                     off < 0 ? "under" : "over");
}

}  // namespace

Outcome<Slo> Slo::parse(std::string_view text) {
  const Failure bad{fmt::format(
      "objective '{}': write get|put|all . p50|p90|p99|p999|max|mean|ops, then < <= > >=, then a "
      "duration (50us) or, for ops, a rate (1M)",
      text)};
  const size_t dot = text.find('.');
  const size_t at = text.find_first_of("<>");
  if (dot == std::string_view::npos || at == std::string_view::npos || at < dot) return bad;
  const bool or_equal = at + 1 < text.size() && text[at + 1] == '=';
  const auto series = find_name<Series>(
      {{"all", Series::all}, {"get", Series::get}, {"put", Series::put}}, text.substr(0, dot));
  const auto metric = find_name<Metric>({{"p50", Metric::p50},
                                         {"p90", Metric::p90},
                                         {"p99", Metric::p99},
                                         {"p999", Metric::p999},
                                         {"max", Metric::max},
                                         {"mean", Metric::mean},
                                         {"ops", Metric::ops}},
                                        text.substr(dot + 1, at - dot - 1));
  if (!series || !metric) return bad;
  const Outcome<double> limit = parse_limit(*metric, text.substr(at + (or_equal ? 2 : 1)));
  if (!limit) return bad;
  const Relation less = or_equal ? Relation::less_equal : Relation::less;
  const Relation greater = or_equal ? Relation::greater_equal : Relation::greater;
  return Slo{std::string(text), *series, *metric, text[at] == '<' ? less : greater, *limit};
}

std::vector<SloVerdict> judge(std::span<const Slo> slos, std::span<const Measurement> runs) {
  Latencies latencies;
  double seconds = 0;
  for (const Measurement& run : runs) {
    latencies += run.response.all().count() > 0 ? run.response : run.service;
    seconds += run.seconds();
  }
  std::vector<SloVerdict> verdicts;
  for (const Slo& slo : slos) {
    const Histogram histogram = pick(slo.series, latencies);
    const bool counted = histogram.count() > 0;
    SloVerdict verdict{slo.text, false, slo.limit, metric_of(slo.metric, histogram, seconds), {}};
    verdict.met = counted && holds(slo.relation, verdict.measured, slo.limit);
    verdict.line = describe(verdict, slo.metric, counted);
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

}  // namespace copykv::bench
