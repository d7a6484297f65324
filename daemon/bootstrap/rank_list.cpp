// SPDX-License-Identifier: Apache-2.0
#include "daemon/bootstrap/rank_list.hpp"

#include <fmt/format.h>

namespace copykv::bootstrap {
namespace {

constexpr size_t kGroupsShown = 16;

}  // namespace

std::string spell_ranks(const std::vector<uint32_t>& ranks) {
  std::vector<std::string> groups;
  size_t at = 0;
  while (at < ranks.size() && groups.size() < kGroupsShown) {
    size_t end = at + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    if (end - at == 2) end = at + 1;  // "3 and 4", not "3..4"
    groups.push_back(end - at == 1 ? std::to_string(ranks[at])
                                   : fmt::format("{}..{}", ranks[at], ranks[end - 1]));
    at = end;
  }
  if (at < ranks.size()) groups.push_back(fmt::format("{} more", ranks.size() - at));
  std::string text;
  for (size_t group = 0; group < groups.size(); ++group) {
    if (group > 0) text += group + 1 == groups.size() ? " and " : ", ";
    text += groups[group];
  }
  return text;
}

std::string ranks_are(const std::vector<uint32_t>& ranks, uint32_t of) {
  const bool one = ranks.size() == 1;
  return fmt::format("{} {} of {} {}", one ? "rank" : "ranks", spell_ranks(ranks), of,
                     one ? "is" : "are");
}

std::string stopped_line(uint32_t rank) {
  return fmt::format("rank {} was stopped before all ranks had come", rank);
}

}  // namespace copykv::bootstrap
