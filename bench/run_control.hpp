// SPDX-License-Identifier: Apache-2.0
// One point: the ranks and their clients, the line round trip, warm-up and runs, and what came out.
// Rank 0 leads and reports; the others follow.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "bench/line_rtt.hpp"
#include "bench/options.hpp"
#include "bench/run_result.hpp"
#include "sim/profile.hpp"

namespace copykv::bench {

/// This machine and this build.
struct Host {
  std::string cpu{};
  uint32_t cores = 0;  ///< that this process may use
  std::string kernel{};
  std::string commit{};
  std::string compiler{};
  std::string build_type{};
  std::string transport = "none";
  bool simulated = false;
  std::string clock{};  ///< where stamps come from
};
[[nodiscard]] Host describe_host();

struct Report {
  RunOptions options{};
  Host host{};
  LineRtt line_rtt_before{};
  LineRtt line_rtt_after{};
  std::vector<RunResult> runs{};
  std::vector<SloVerdict> slos{};
  std::optional<sim::Profile> profile{};  ///< of a simulated point
  bool interrupted = false;

  [[nodiscard]] std::vector<Measurement> measurements() const;
  /// Why the line round trip is not what it should be; empty when it is.
  [[nodiscard]] const std::string& line_rtt_note() const noexcept {
    return line_rtt_before.note.empty() ? line_rtt_after.note : line_rtt_before.note;
  }
  [[nodiscard]] ExitCode exit_code() const noexcept;
};

/// Rank 0, or the only one. Fails only when nothing could be measured.
[[nodiscard]] Outcome<Report> measure_point(const RunOptions& options);

/// Any other rank: does what rank 0 says, and reports to it. Prints nothing but why it failed.
/// Returns the exit code.
[[nodiscard]] int follow(const RunOptions& options);

}  // namespace copykv::bench
