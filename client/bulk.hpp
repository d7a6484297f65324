// SPDX-License-Identifier: Apache-2.0
// Rooms in a client's bulk area: first fit over a short list of free runs, page granularity.
// Private to the client; the daemon sees only offset and length of each request and checks them.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/segment.hpp"

namespace copykv {

[[nodiscard]] constexpr uint64_t whole_pages(uint64_t bytes) noexcept {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

struct BulkRoom {
  uint64_t offset = 0;
  uint64_t bytes = 0;  ///< 0: no room
};

class BulkAllocator {
 public:
  /// Memory behind the area has grown to `bytes`.
  void grow_to(uint64_t bytes) {
    if (bytes > end_) release({end_, bytes - end_});
    if (bytes > end_) end_ = bytes;
  }

  /// A room of at least `bytes` (> 0), or one of 0 bytes when none is free.
  [[nodiscard]] BulkRoom allocate(uint64_t bytes) noexcept;
  void release(BulkRoom room);

  [[nodiscard]] uint64_t end() const noexcept { return end_; }
  /// Free runs, sorted by offset and never adjacent.
  [[nodiscard]] const std::vector<BulkRoom>& free_runs() const noexcept { return free_; }

 private:
  std::vector<BulkRoom> free_;
  uint64_t end_ = 0;
};

}  // namespace copykv
