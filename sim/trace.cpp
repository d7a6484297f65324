// SPDX-License-Identifier: Apache-2.0
#include "sim/trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace copykv::sim {

void Trace::mix(uint64_t word) {
  hash_ = (hash_ ^ word) * 0xff51afd7ed558ccdULL;
  hash_ ^= hash_ >> 32;
}

void Trace::note(uint64_t at_ns, const char* what, uint64_t who, uint64_t first, uint64_t second) {
  events_[count_++ % events_.size()] = {at_ns, what, who, first, second};
  uint64_t text = 0;
  for (const char letter : std::string_view(what)) text = text * 31 + static_cast<uint8_t>(letter);
  mix(at_ns);
  mix(text);
  mix(who);
  mix(first);
  mix(second);
}

std::string Trace::tell(uint64_t from_ns, uint64_t to_ns, size_t lines_max) const {
  std::vector<const TraceEvent*> chosen;
  const uint64_t known = std::min<uint64_t>(count_, events_.size());
  for (uint64_t number = count_ - known; number < count_; ++number) {
    const TraceEvent& event = events_[number % events_.size()];
    if (event.at_ns >= from_ns && event.at_ns <= to_ns) chosen.push_back(&event);
  }
  std::string told;
  const size_t left_out = chosen.size() > lines_max ? chosen.size() - lines_max : 0;
  if (left_out > 0) told = fmt::format("  ... {} earlier events\n", left_out);
  for (size_t index = left_out; index < chosen.size(); ++index) {
    const TraceEvent& event = *chosen[index];
    told += fmt::format("  {:>12.3f} us  ", static_cast<double>(event.at_ns) / 1e3);
    told += fmt::format(fmt::runtime(event.what), event.who, event.first, event.second);
    told += '\n';
  }
  return told;
}

}  // namespace copykv::sim
