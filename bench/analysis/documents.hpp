// SPDX-License-Identifier: Apache-2.0
// The figures of result documents (schema 1), as the analysis wants them: runs of the same
// conditions become one Point, Points that differ in the number of clients alone one Series.
//
// Documents come from files: whatever is missing in one is absent here (a count of 0, an empty
// list, NaN), whatever has the wrong type makes the file an error. Published data
// (bench/reference/) are read as well; they have no runs and say so.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "bench/analysis/lines.hpp"
#include "bench/analysis/mixture.hpp"
#include "bench/confidence.hpp"

namespace copykv::bench::analysis {

inline constexpr double kUnknown = NAN;

/// A histogram of schema 1.
struct Latency {
  double count = 0;
  double mean_ns = 0;
  double p50_ns = 0;
  double p90_ns = 0;
  double p99_ns = 0;
  double p999_ns = 0;
  double max_ns = 0;
  std::vector<Bin> bins{};  ///< empty without --histograms

  /// Adds counts; percentiles come from the bins, or are unknown without them.
  Latency& operator+=(const Latency& other);
};

struct Named {
  std::string name{};
  double value = 0;
};

struct Station {
  std::string name{};
  Latency time{};
};

struct DaemonFigures {
  uint32_t rank = 0;
  uint32_t daemon = 0;
  double turns = 0;
  double busy_fraction = kUnknown;
  double ground_queue_mean = kUnknown;
  std::vector<Station> phases{};
  std::vector<Named> per_turn{};
};

/// Things that carried `x` items took `y` ns on average, `weight` times.
using Cycles = std::vector<Sample>;

struct RunFigures {
  double seconds = 0;
  double operations = 0;
  double rate_per_s = 0;               ///< of all ranks, each while its own clients ran
  double throughput_per_s = kUnknown;  ///< lambda, over the same time as L
  double in_flight_mean = kUnknown;    ///< L, integrated over time
  double latency_mean_ns = kUnknown;   ///< W, of the stamps
  double residual = kUnknown;
  double remote_per_rank_per_s = kUnknown;
  double messages_per_batch = kUnknown;
  double batches_per_s = kUnknown;
  Latency all{};
  Latency rtt{};                    ///< from call to answer, at the daemon
  std::vector<Station> causes{};    ///< get_local, get_remote, put_local, put_remote
  std::vector<Station> stations{};  ///< of remote operations, in order
  std::vector<Named> busy{};        ///< each kind of resource, mean share of the time
  std::vector<DaemonFigures> daemons{};
  std::vector<Named> ranks{};       ///< operations per second of each
  std::vector<Sample> over_time{};  ///< second, operations per second
  Cycles turns{};                   ///< by items of a turn
  Cycles batches{};                 ///< by messages of a batch
  std::vector<std::string> failures{};

  [[nodiscard]] Latency local() const;
  [[nodiscard]] Latency remote() const;
};

struct SloFigure {
  std::string text{};
  bool met = false;
  double limit = 0;
  double measured = 0;
};

struct Conditions {
  std::string transport{};
  std::string cpu{};
  std::string commit{};
  std::string kernel{};
  std::string build{};
  std::string profile{};  ///< of a simulation
  std::string group{};    ///< of `benchkv reproduce`
  bool simulated = false;
  bool published = false;
  uint32_t ranks = 1;
  uint32_t daemons = 1;
  uint32_t clients = 1;
  uint32_t depth = 1;
  std::vector<std::pair<std::string, std::string>> settings{};  ///< that tell series apart

  [[nodiscard]] double customers() const { return double(clients) * depth; }
  /// "simulated, sim, 2 ranks, EPYC, commit abc": beside every chart and table.
  [[nodiscard]] std::string caption() const;
};

struct Point {
  Conditions conditions{};
  std::vector<RunFigures> runs{};
  std::vector<SloFigure> slos{};
  double line_rtt_ns = kUnknown;

  /// Median over the runs of what `figure` gives; runs where it is unknown are left out.
  template <class Figure>
  [[nodiscard]] MedianInterval over_runs(Figure&& figure) const {
    std::vector<double> values;
    for (const RunFigures& run : runs) {
      if (const double value = figure(run); !std::isnan(value)) values.push_back(value);
    }
    return median_of_runs(std::move(values));
  }
  [[nodiscard]] MedianInterval rate() const {
    return over_runs([](const RunFigures& run) { return run.rate_per_s; });
  }
  [[nodiscard]] bool failed() const;
};

struct Series {
  std::string name{};           ///< what tells it from the others
  std::vector<Point> points{};  ///< by number of customers
};

struct Study {
  std::vector<Series> series{};
  std::vector<std::string> skipped{};  ///< files that hold no result, and why
};

/// Adds what the document holds. The error names what is wrong with it.
[[nodiscard]] Outcome<void> add_document(const nlohmann::ordered_json& document, Study& study);

/// Reads a file, or all .json files below a directory.
[[nodiscard]] Outcome<Study> read_study(const std::string& path);

/// The published two-rank measurement that the project carries along.
[[nodiscard]] const nlohmann::ordered_json& published_reference();

/// Adds a point to the series of its conditions; to the point, where it is there already.
void add_point(Point point, Study& study);

/// Series of three loads or more; all, when there are none: single points are for comparisons.
[[nodiscard]] std::vector<const Series*> swept(const Study& study);

/// Adds what `other` holds; points of the same conditions become one.
void join(Study other, Study& study);

/// Orders points and names series: once, when all documents are there.
void arrange(Study& study);

}  // namespace copykv::bench::analysis
