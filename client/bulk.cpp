// SPDX-License-Identifier: Apache-2.0
#include "client/bulk.hpp"

#include <algorithm>

namespace copykv {

BulkRoom BulkAllocator::allocate(uint64_t bytes) noexcept {
  const uint64_t whole = whole_pages(bytes);
  for (auto run = free_.begin(); run != free_.end(); ++run) {
    if (run->bytes < whole) continue;
    const BulkRoom room{run->offset, whole};
    run->offset += whole;
    run->bytes -= whole;
    if (run->bytes == 0) free_.erase(run);
    return room;
  }
  return {};
}

void BulkAllocator::release(BulkRoom room) {
  if (room.bytes == 0) return;
  auto next =
      std::lower_bound(free_.begin(), free_.end(), room.offset,
                       [](const BulkRoom& run, uint64_t offset) { return run.offset < offset; });
  const bool joins_next = next != free_.end() && room.offset + room.bytes == next->offset;
  const bool joins_last =
      next != free_.begin() && std::prev(next)->offset + std::prev(next)->bytes == room.offset;
  if (joins_last && joins_next) {
    std::prev(next)->bytes += room.bytes + next->bytes;
    free_.erase(next);
  } else if (joins_last) {
    std::prev(next)->bytes += room.bytes;
  } else if (joins_next) {
    next->offset = room.offset;
    next->bytes += room.bytes;
  } else {
    free_.insert(next, room);
  }
}

}  // namespace copykv
