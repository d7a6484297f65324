// SPDX-License-Identifier: Apache-2.0
// Runs as an HdrHistogram log (format 1.3, histograms in encoding V2), which the tools around
// HdrHistogram read: one line per run, values in nanoseconds.
//
// A line   start second, length in seconds, maximum in milliseconds, base64 of
//   compressed  be32 0x1c849314, be32 length, zlib stream of
//   histogram   be32 0x1c849313, be32 payload bytes, be32 0, be32 significant digits (3),
//               be64 lowest (1), be64 highest trackable value, be64 1.0 as IEEE 754, payload
//   payload     counts by index as zigzag LEB128 (at most 9 bytes); -n stands for n empty ones
// Indices are those of Histogram: it has HdrHistogram's layout. The zlib stream holds stored
// blocks: nothing is compressed, and nothing has to be linked; empty buckets take no room anyway.
#pragma once

#include <string>
#include <vector>

#include "base/histogram.hpp"

namespace copykv::bench {

struct HdrInterval {
  double start_s = 0;
  double length_s = 0;
  Histogram histogram{};
};

[[nodiscard]] std::string to_hdr_log(const std::vector<HdrInterval>& intervals);

}  // namespace copykv::bench
