// SPDX-License-Identifier: Apache-2.0
// A profile of the simulated network and processors that reproduces published figures, found by
// running the simulation itself; and rivals, which put the same work elsewhere.
//
// OBSERVED   per row: round-trip p50, all operations, remote operations per rank; one rank alone;
//   both sides of the round-trip histogram (weight of the fast one, mean of each).
// DISTANCE   the sum of squares of (simulated / published - 1) / 10 %, and for the histogram of
//   differences in units of 1 us and of 10 points: below 1 each, an observation is met.
// HELD OUT   a rival is fitted again without each row, and asked for that row; and all are asked
// for
//   a load that is no row, with three times as many clients.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "bench/reference.hpp"
#include "bench/simplex.hpp"
#include "sim/profile.hpp"

namespace copykv::bench {

/// What a fit may turn: a number of the profile (several names: the same for all of them), or with
/// no name the share of a run in which only one of the ranks works, in thousandths.
struct Turned {
  std::vector<std::string> names{};
  Bound bound{};
  double start = 0;
};
struct Rival {
  std::string name{};
  std::string what{};
  std::vector<Turned> turned{};
  std::vector<std::pair<std::string, uint64_t>> fixed{};
};
[[nodiscard]] const std::vector<Rival>& rivals();

/// A profile, and how much later the second rank's clients begin, in thousandths of the run.
struct Candidate {
  sim::Profile profile{};
  double skew_permille = 0;
};
[[nodiscard]] Outcome<Candidate> candidate_of(const Rival& rival, const std::vector<double>& at);

struct Observation {
  std::string name{};
  uint32_t clients = 0;  ///< the row that it belongs to; 0: of no row
  double published = 0;
  double simulated = 0;
  double scale = 0;  ///< a difference of this much is as bad as 10 %

  [[nodiscard]] double distance() const { return (simulated - published) / scale; }
};
/// Each takes `duration_ns` of virtual time. `held_out`: a row that is left out; 0: none.
[[nodiscard]] Outcome<std::vector<Observation>> observe(const Candidate& candidate,
                                                        const Reference& reference,
                                                        uint64_t duration_ns, uint64_t seed,
                                                        uint32_t held_out);
/// Not fitted to, and beyond the rows: two ranks of kReferenceNodeClients, where batches are large;
/// operations per second.
[[nodiscard]] Outcome<double> predict_two_nodes(const Candidate& candidate, uint64_t duration_ns,
                                                uint64_t seed);
[[nodiscard]] double distance_of(const std::vector<Observation>& observations);

struct Fitted {
  std::vector<double> at{};
  double distance = 0;
  uint32_t evaluations = 0;
};
struct FitOptions {
  uint64_t duration_ns = 4'000'000;
  uint64_t seed = 0;
  uint32_t evaluations = 120;
};
[[nodiscard]] Outcome<Fitted> fit(const Rival& rival, const Reference& reference,
                                  const FitOptions& options, uint32_t held_out,
                                  const std::vector<double>& start, double step);

}  // namespace copykv::bench
