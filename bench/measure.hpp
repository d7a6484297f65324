// SPDX-License-Identifier: Apache-2.0
// What one client measured in one run, and what a run is after all clients have been added up.
//
// LITTLE  The operations in flight are integrated over time, from the backend's own count; the
//   latencies come from a stamp per operation. L = lambda W ties the two together, since a run
//   starts and ends with nothing in flight: what the identity misses was lost or counted twice.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <copykv/status.hpp>

#include "base/histogram.hpp"

namespace copykv::bench {

enum class Series : uint8_t { get_local = 0, get_remote = 1, put_local = 2, put_remote = 3 };
inline constexpr size_t kSeriesCount = 4;
inline constexpr std::array<std::string_view, kSeriesCount> kSeriesNames = {
    "get_local", "get_remote", "put_local", "put_remote"};

[[nodiscard]] constexpr Series series_of(bool is_put, bool is_remote) noexcept {
  return static_cast<Series>((is_put ? 2 : 0) + (is_remote ? 1 : 0));
}

/// One histogram per series.
struct Latencies {
  std::array<Histogram, kSeriesCount> series{};

  [[nodiscard]] Histogram& of(Series which) noexcept { return series[static_cast<size_t>(which)]; }
  [[nodiscard]] const Histogram& of(Series which) const noexcept {
    return series[static_cast<size_t>(which)];
  }
  [[nodiscard]] Histogram all() const;
  [[nodiscard]] Histogram gets() const;
  [[nodiscard]] Histogram puts() const;
  Latencies& operator+=(const Latencies& other) noexcept;
};

struct WrongValue {
  uint32_t client = 0;  ///< of all ranks' clients
  std::string key{};
  uint64_t value_bytes = 0;
  std::string value_start{};  ///< the first bytes, at most kWrongBytesShown
};
inline constexpr size_t kWrongBytesShown = 64;

struct LittlesLaw {
  double in_flight_mean = 0;
  double throughput_per_second = 0;
  double latency_mean_ns = 0;
  double residual = 0;  ///< |L - lambda W| / L
};
inline constexpr double kResidualWarns = 0.01;
inline constexpr double kResidualFails = 0.03;

/// How many operations were answered in each slice of a run. A slice is a power of two of
/// nanoseconds, so that the same of all clients: 64 to 128 of them make up the run, and what comes
/// after twice its length counts in the last.
struct RateOverTime {
  static constexpr size_t kSlices = 256;
  uint32_t slice_shift = 0;
  std::array<uint64_t, kSlices> answered{};

  void begin(uint64_t duration_ns) noexcept {
    slice_shift = static_cast<uint32_t>(std::bit_width(duration_ns >> 7));
  }
  void count(uint64_t since_start_ns, uint64_t times) noexcept {
    answered[std::min<uint64_t>(since_start_ns >> slice_shift, kSlices - 1)] += times;
  }
  struct Slice {
    double middle_s = 0;  ///< after the start
    double per_second = 0;
  };
  /// None when nothing was answered. Up to the end of the last answer, `end_ns` after the start.
  [[nodiscard]] std::vector<Slice> slices(uint64_t end_ns) const;
  RateOverTime& operator+=(const RateOverTime& other) noexcept;
};

/// A sampled request as its client knows it. The first four name it (copykv::SampledRequest).
struct ClientSample {
  uint32_t client = 0;
  uint32_t daemon = 0;
  uint32_t slot = 0;
  uint32_t seq = 0;
  uint64_t published_ns = 0;
  uint64_t seen_ns = 0;
};

struct Measurement {
  uint64_t start_ns = UINT64_MAX;  ///< the run's agreed start; the same for all clients
  uint64_t end_ns = 0;             ///< the last answer
  uint64_t operations = 0;         ///< answered, whatever the answer
  uint64_t reads_verified = 0;
  uint64_t wrong_values = 0;
  uint64_t in_flight_time_ns = 0;  ///< integral of the operations in flight over time
  uint64_t unsent = 0;             ///< open loop: starts that were due and never came
  uint64_t rounds = 0;             ///< looks that found answers; those found together share a stamp
  bool interrupted = false;
  std::vector<uint64_t> client_operations{};    ///< of each client that reported
  std::array<uint64_t, kStatusCount> errors{};  ///< by Status
  Latencies service{};                          ///< from the submit to the answer
  Latencies response{};  ///< open loop: from the meant start to the answer; else empty
  std::optional<WrongValue> first_wrong{};
  RateOverTime over_time{};
  uint64_t sampled = 0;                 ///< requests marked for stations
  std::vector<ClientSample> samples{};  ///< of them, those that are kept

  [[nodiscard]] double seconds() const noexcept;
  [[nodiscard]] double ops_per_second() const noexcept;
  [[nodiscard]] uint64_t errors_total() const noexcept;
  /// Of the slowest client, in parts of the mean of all; 0 when nobody reported.
  [[nodiscard]] double slowest_client_share() const noexcept;
  [[nodiscard]] LittlesLaw littles_law() const;

  /// Adds another client (or rank) of the same run.
  Measurement& operator+=(const Measurement& other);
  /// Lets time begin at the start: clocks of several machines have nothing else in common.
  void count_from_start() noexcept;
};

/// For the way from a client process to the one that reports. decode fails on a cut text only,
/// which is what a dying process leaves.
[[nodiscard]] std::string encode(const Measurement& measured);
[[nodiscard]] std::optional<Measurement> decode(std::string_view bytes);

}  // namespace copykv::bench
