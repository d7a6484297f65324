// SPDX-License-Identifier: Apache-2.0
// What `stat` and `top` derive from the raw counters of a rank.
#pragma once

#include <cstdint>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "tools/copykv/rank_view.hpp"

namespace copykv::tools {

/// Milliseconds since 1970, as in RankHeader::started_unix_ms.
[[nodiscard]] uint64_t unix_ms();

/// The name of an operation in tables and JSON; empty for values that are no Op.
[[nodiscard]] std::string_view op_name(uint32_t op) noexcept;

/// The value that `percent` (0..100) of all counted durations do not exceed, at most the maximum; 0
/// when nothing was counted.
[[nodiscard]] uint64_t percentile_ns(const PhaseHistogram& histogram, double percent) noexcept;

/// `part` of `whole`, 0 when there is nothing.
[[nodiscard]] double fraction(uint64_t part, uint64_t whole) noexcept;

/// Everything that `copykv stat --json` prints. `now_unix_ms` gives the time since the start.
[[nodiscard]] nlohmann::ordered_json to_json(const Snapshot& snapshot, std::string_view job,
                                             const RankInfo& info, uint64_t now_unix_ms);

}  // namespace copykv::tools
