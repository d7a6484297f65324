// SPDX-License-Identifier: Apache-2.0
// Ranks as people read them, and the line for those that did not come.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace copykv::bootstrap {

/// "3", "1, 4..9 and 12": ascending `ranks`; after 16 groups "and 40 more".
[[nodiscard]] std::string spell_ranks(const std::vector<uint32_t>& ranks);

/// "rank 3 of 8 is", "ranks 1, 4..6 of 8 are": the beginning of a sentence about them.
[[nodiscard]] std::string ranks_are(const std::vector<uint32_t>& ranks, uint32_t of);

/// What an exchange ends with when the rank is told to stop.
[[nodiscard]] std::string stopped_line(uint32_t rank);

}  // namespace copykv::bootstrap
