// SPDX-License-Identifier: Apache-2.0
// A point under virtual time: the same load and the same report as measure_point, from a simulated
// cluster (sim/cluster.hpp). The same options and seed give the same report, byte for byte, but for
// what it says of the machine.
#pragma once

#include <memory>

#include "base/error.hpp"
#include "bench/run_control.hpp"
#include "sim/profile.hpp"

namespace copykv::bench {

/// What --sim-profile names. The error says what there is.
[[nodiscard]] Outcome<sim::Profile> profile_of(const RunOptions& options);

[[nodiscard]] Outcome<Report> simulate_point(const RunOptions& options,
                                             const sim::Profile& profile);

}  // namespace copykv::bench
