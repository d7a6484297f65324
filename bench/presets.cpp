// SPDX-License-Identifier: Apache-2.0
// The core workloads of YCSB (Cooper et al., SoCC 2010) as far as they need no scan, and the load
// of a published round-trip analysis.
#include <fmt/format.h>

#include "bench/options.hpp"

namespace copykv::bench {
namespace {

// Records of YCSB: ten fields of 100 bytes under "user" and 19 digits.
void ycsb(RunOptions& options, double read_ratio, const char* distribution, bool modify = false) {
  options.key_range = 100'000;
  options.key_bytes = 23;
  options.value_bytes = "1000";
  options.read_ratio = read_ratio;
  options.distribution = distribution;
  options.modify = modify;
}

}  // namespace

Outcome<void> apply_preset(std::string_view name, RunOptions& options) {
  if (name.empty()) return {};
  if (name == "ycsb-e") {
    return Failure{"preset ycsb-e scans ranges of keys, and copykv has no scan; take another one"};
  }
  if (name == "ycsb-a") {
    ycsb(options, 0.5, "zipfian:0.99");
  } else if (name == "ycsb-b") {
    ycsb(options, 0.95, "zipfian:0.99");
  } else if (name == "ycsb-c") {
    ycsb(options, 1.0, "zipfian:0.99");
  } else if (name == "ycsb-d") {
    ycsb(options, 0.95, "latest");
  } else if (name == "ycsb-f") {
    ycsb(options, 0.5, "zipfian:0.99", true);
  } else if (name == "rtt-analysis") {
    options.ranks = 2;
    options.daemon_threads = 1;
    options.queue_depth = 1;
    options.key_range = 1024;
    options.read_ratio = 0.5;
    options.distribution = "uniform";
    options.duration_ns = 10 * kNanosPerSecond;
    options.histograms = true;
  } else {
    return Failure{fmt::format(
        "preset '{}': known are ycsb-a, ycsb-b, ycsb-c, ycsb-d, ycsb-f and rtt-analysis", name)};
  }
  options.preset = name;
  return {};
}

}  // namespace copykv::bench
