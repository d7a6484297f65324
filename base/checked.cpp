// SPDX-License-Identifier: Apache-2.0
// Compiled into the checked build only.
#include "base/checked.hpp"

#include <algorithm>

namespace copykv {

void StoreBuffer::watch(const void* base, size_t bytes) {
  ranges_.push_back({reinterpret_cast<uintptr_t>(base), bytes});
}

void StoreBuffer::forget(const void* base, size_t bytes) {
  const auto from = reinterpret_cast<uintptr_t>(base);
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<ptrdiff_t>(first_));
  first_ = 0;
  std::erase_if(entries_, [&](const Entry& entry) { return entry.address() - from < bytes; });
  std::erase_if(ranges_, [&](const Range& range) { return range.base == from; });
}

void StoreBuffer::write(const Entry& entry) {
  std::memcpy(entry.word, &entry.bits, entry.bytes);
}

void StoreBuffer::drain() {
  for (; first_ < entries_.size(); ++first_) write(entries_[first_]);
  entries_.clear();
  first_ = 0;
}

void StoreBuffer::drain_first() {
  write(entries_[first_++]);
  if (first_ < 16 * kEntriesMax) return;
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<ptrdiff_t>(first_));
  first_ = 0;
}

const std::vector<PlantedBugInfo>& planted_bugs() {
  static const std::vector<PlantedBugInfo> all{
#define COPYKV_BUG_INFO(name, what) {PlantedBug::name, #name, what},
      COPYKV_PLANTED_BUGS(COPYKV_BUG_INFO)
#undef COPYKV_BUG_INFO
  };
  return all;
}

PlantedBug planted_bug_of(std::string_view name) {
  for (const PlantedBugInfo& info : planted_bugs()) {
    if (info.name == name) return info.bug;
  }
  return PlantedBug::none;
}

}  // namespace copykv
