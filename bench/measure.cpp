// SPDX-License-Identifier: Apache-2.0
#include "bench/measure.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/clock.hpp"
#include "bench/codec.hpp"

namespace copykv::bench {
Histogram Latencies::all() const {
  Histogram sum;
  for (const Histogram& part : series) sum += part;
  return sum;
}

Histogram Latencies::gets() const {
  Histogram sum = of(Series::get_local);
  sum += of(Series::get_remote);
  return sum;
}

Histogram Latencies::puts() const {
  Histogram sum = of(Series::put_local);
  sum += of(Series::put_remote);
  return sum;
}

Latencies& Latencies::operator+=(const Latencies& other) noexcept {
  for (size_t i = 0; i < kSeriesCount; ++i) series[i] += other.series[i];
  return *this;
}

double Measurement::seconds() const noexcept {
  if (end_ns <= start_ns) return 0;
  return static_cast<double>(end_ns - start_ns) / static_cast<double>(kNanosPerSecond);
}

double Measurement::ops_per_second() const noexcept {
  const double elapsed = seconds();
  return elapsed > 0 ? static_cast<double>(operations) / elapsed : 0;
}

uint64_t Measurement::errors_total() const noexcept {
  return std::accumulate(errors.begin(), errors.end(), uint64_t{0});
}

void Measurement::count_from_start() noexcept {
  if (end_ns < start_ns) return;  // nobody reported
  end_ns -= start_ns;
  start_ns = 0;
}

double Measurement::slowest_client_share() const noexcept {
  if (client_operations.empty() || operations == 0) return 0;
  const uint64_t slowest = *std::min_element(client_operations.begin(), client_operations.end());
  return static_cast<double>(slowest) * static_cast<double>(client_operations.size()) /
         static_cast<double>(operations);
}

std::vector<RateOverTime::Slice> RateOverTime::slices(uint64_t end_ns) const {
  std::vector<Slice> out;
  if (std::all_of(answered.begin(), answered.end(), [](uint64_t times) { return times == 0; })) {
    return out;
  }
  for (size_t at = 0; at < kSlices; ++at) {
    const uint64_t from_ns = uint64_t{at} << slice_shift;
    if (from_ns >= end_ns) break;
    const uint64_t to_ns =
        at + 1 == kSlices ? end_ns : std::min(end_ns, (uint64_t{at} + 1) << slice_shift);
    const auto seconds = static_cast<double>(to_ns - from_ns) / double{kNanosPerSecond};
    out.push_back({static_cast<double>(from_ns + to_ns) / 2 / double{kNanosPerSecond},
                   static_cast<double>(answered[at]) / seconds});
  }
  return out;
}

RateOverTime& RateOverTime::operator+=(const RateOverTime& other) noexcept {
  slice_shift = std::max(slice_shift, other.slice_shift);  // 0: it never began
  for (size_t at = 0; at < kSlices; ++at) answered[at] += other.answered[at];
  return *this;
}

LittlesLaw Measurement::littles_law() const {
  LittlesLaw law;
  if (end_ns <= start_ns || operations == 0) return law;
  law.in_flight_mean =
      static_cast<double>(in_flight_time_ns) / static_cast<double>(end_ns - start_ns);
  law.throughput_per_second = ops_per_second();
  law.latency_mean_ns = service.all().mean_ns();
  const double predicted =
      law.throughput_per_second * law.latency_mean_ns / static_cast<double>(kNanosPerSecond);
  law.residual =
      law.in_flight_mean > 0 ? std::abs(law.in_flight_mean - predicted) / law.in_flight_mean : 1;
  return law;
}

Measurement& Measurement::operator+=(const Measurement& other) {
  start_ns = std::min(start_ns, other.start_ns);
  end_ns = std::max(end_ns, other.end_ns);
  operations += other.operations;
  reads_verified += other.reads_verified;
  wrong_values += other.wrong_values;
  in_flight_time_ns += other.in_flight_time_ns;
  unsent += other.unsent;
  rounds += other.rounds;
  client_operations.insert(client_operations.end(), other.client_operations.begin(),
                           other.client_operations.end());
  interrupted = interrupted || other.interrupted;
  for (size_t i = 0; i < errors.size(); ++i) errors[i] += other.errors[i];
  service += other.service;
  response += other.response;
  if (!first_wrong) first_wrong = other.first_wrong;
  over_time += other.over_time;
  sampled += other.sampled;
  samples.insert(samples.end(), other.samples.begin(), other.samples.end());
  return *this;
}

std::string encode(const Measurement& measured) {
  Encoder out;
  for (const uint64_t number :
       {measured.start_ns, measured.end_ns, measured.operations, measured.reads_verified,
        measured.wrong_values, measured.in_flight_time_ns, measured.unsent, measured.rounds,
        uint64_t{measured.interrupted}, uint64_t{measured.client_operations.size()}}) {
    out.number(number);
  }
  for (const uint64_t operations : measured.client_operations) out.number(operations);
  for (const uint64_t errors : measured.errors) out.number(errors);
  for (const Histogram& part : measured.service.series) out.histogram(part);
  for (const Histogram& part : measured.response.series) out.histogram(part);
  out.number(measured.first_wrong.has_value());
  if (measured.first_wrong) {
    out.number(measured.first_wrong->client);
    out.string(measured.first_wrong->key);
    out.number(measured.first_wrong->value_bytes);
    out.string(measured.first_wrong->value_start);
  }
  out.number(measured.over_time.slice_shift);
  for (const uint64_t times : measured.over_time.answered) out.number(times);
  out.number(measured.sampled).number(measured.samples.size());
  for (const ClientSample& sample : measured.samples) {
    for (const uint64_t number :
         {uint64_t{sample.client}, uint64_t{sample.daemon}, uint64_t{sample.slot},
          uint64_t{sample.seq}, sample.published_ns, sample.seen_ns}) {
      out.number(number);
    }
  }
  return out.take();
}

std::optional<Measurement> decode(std::string_view bytes) {
  Decoder in(bytes);
  Measurement measured;
  measured.start_ns = in.number();
  measured.end_ns = in.number();
  measured.operations = in.number();
  measured.reads_verified = in.number();
  measured.wrong_values = in.number();
  measured.in_flight_time_ns = in.number();
  measured.unsent = in.number();
  measured.rounds = in.number();
  measured.interrupted = in.number() != 0;
  const uint64_t clients = in.number();
  for (uint64_t i = 0; i < clients && !in.cut(); ++i) {
    measured.client_operations.push_back(in.number());
  }
  for (uint64_t& errors : measured.errors) errors = in.number();
  for (Histogram& part : measured.service.series) in.histogram(part);
  for (Histogram& part : measured.response.series) in.histogram(part);
  if (in.number() != 0) {
    WrongValue wrong;
    wrong.client = static_cast<uint32_t>(in.number());
    wrong.key = in.string();
    wrong.value_bytes = in.number();
    wrong.value_start = in.string();
    measured.first_wrong = std::move(wrong);
  }
  measured.over_time.slice_shift = static_cast<uint32_t>(in.number());
  for (uint64_t& times : measured.over_time.answered) times = in.number();
  measured.sampled = in.number();
  const uint64_t samples = in.number();
  for (uint64_t i = 0; i < samples && !in.cut(); ++i) {
    ClientSample& sample = measured.samples.emplace_back();
    for (uint32_t* const part : {&sample.client, &sample.daemon, &sample.slot, &sample.seq}) {
      *part = static_cast<uint32_t>(in.number());
    }
    sample.published_ns = in.number();
    sample.seen_ns = in.number();
  }
  if (in.cut()) return std::nullopt;
  return measured;
}

}  // namespace copykv::bench
