// SPDX-License-Identifier: Apache-2.0
// One screen of `copykv top`, as text: rates between two snapshots of a rank's counters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/copykv/probe.hpp"
#include "tools/copykv/rank_view.hpp"

namespace copykv::tools {

struct FrameInput {
  std::string_view job;
  uint32_t pid = 0;
  uint64_t now_unix_ms = 0;
  const Snapshot& before;
  const Snapshot& after;
  double seconds = 1;  ///< between the snapshots
  const ProbeReport& probe;
};

/// Lines of at most `columns` characters (ASCII), without line ends.
[[nodiscard]] std::vector<std::string> render_frame(const FrameInput& input, size_t columns);

/// "[####....]" of `width` characters.
[[nodiscard]] std::string render_bar(uint64_t part, uint64_t whole, size_t width);

}  // namespace copykv::tools
