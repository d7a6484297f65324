// SPDX-License-Identifier: Apache-2.0
// Why an operation takes longer in one point than in another, in parts that add up exactly.
//
//   cycle     C = N / X, from one operation of a client to its next (of runs added up)
//   C = Z + W           W the mean latency, Z what the client does between operations
//   W = Wl + p (Wr - Wl)   p the share of remote operations; all of them means, never percentiles
//   Wr - Wl             what being remote adds; by stations where the runs were stamped
#pragma once

#include <vector>

#include "bench/analysis/documents.hpp"

namespace copykv::bench::analysis {

/// Means over all operations of all runs of a point, ns.
struct CycleParts {
  double cycle_ns = 0;
  double think_ns = 0;      ///< Z
  double latency_ns = 0;    ///< W
  double local_ns = 0;      ///< Wl; W of all where nothing is local
  double remote_ns = 0;     ///< Wr; 0 where nothing is remote
  double remote_share = 0;  ///< p
  bool known = false;       ///< the runs say all of it
};
[[nodiscard]] CycleParts cycle_parts(const Point& point);

/// C(changed) - C(base), part by part.
[[nodiscard]] std::vector<Named> cycle_gap(const Point& base, const Point& changed);

/// Difference of the mean time at each station of remote operations. Empty when either was not
/// stamped.
[[nodiscard]] std::vector<Named> station_gap(const Point& base, const Point& changed);

/// Mean time at each station of remote operations over all runs, ns.
[[nodiscard]] std::vector<Named> station_means(const Point& point);

}  // namespace copykv::bench::analysis
