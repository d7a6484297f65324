// SPDX-License-Identifier: Apache-2.0
// What is written about a point: the document (JSON, schema 1), the table for people, and
// HdrHistogram's percentile output.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "bench/run_control.hpp"

namespace copykv::bench {

using Json = nlohmann::ordered_json;

[[nodiscard]] Json to_json(const Report& report);
/// Of a simulated run: "stations" and "resources".
[[nodiscard]] Json stations_json(const RunResult& run, bool with_buckets);
[[nodiscard]] Json resources_json(const RunResult& run);
/// Of a real run that sampled every so many-th request: "stations".
[[nodiscard]] Json real_stations_json(const RunResult& run, uint32_t every, bool with_buckets);
/// Lines for the table; empty: there are no stations.
[[nodiscard]] std::string stations_table(const RunResult& run);
/// {"count", "mean", "p50", ...}; buckets when asked for.
[[nodiscard]] Json to_json(const Histogram& histogram, bool with_buckets);

[[nodiscard]] std::string to_table(const Report& report);

/// All operations of all runs, in microseconds; of an open loop the response times.
[[nodiscard]] std::string to_hgrm(const Report& report);
/// The same, run by run, as an HdrHistogram log in ns (hdr_log.hpp).
[[nodiscard]] std::string to_hdr(const Report& report);

/// To a file, or to stdout when `path` is "-".
[[nodiscard]] Outcome<void> write_text(const std::string& path, const std::string& text);

}  // namespace copykv::bench
