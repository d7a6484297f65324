// SPDX-License-Identifier: Apache-2.0
// Spans of 16 KiB pages of one region: best fit from segregated lists, one list per exact length,
// with boundary coalescing. Every call is O(1) (plus a scan of a few bitmap words).
//
//   0 .. reserved    never handed out
//   reserved .. top  free or in use
//   top .. populated taken when no free span fits
//   beyond           not populated yet
//
// INVARIANTS
//   I1  reserved + pages in use + pages in free spans == top.
//   I2  no two free spans touch, and none touches top.
//   I3  list n holds exactly the free spans of n pages; the last list holds all longer ones.
// All bookkeeping is private memory, sized at construction.
// PROVED BY  tests/unit/shm/arena_test.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/region.hpp"

namespace copykv {

inline constexpr uint32_t kArenaPageBytes = 16384;
inline constexpr uint32_t kNoPage = UINT32_MAX;

/// Whether there was room.
enum class [[nodiscard]] Room : uint8_t{
    ok,
    no_space,           ///< the budget is used up
    not_populated_yet,  ///< the control thread is still at it: try again in a later turn
};

class PageHeap {
 public:
  PageHeap(Region& region, uint32_t reserved_pages, uint32_t span_pages_max);

  struct Span {
    Room room;
    uint32_t first_page;
  };
  /// 1 <= pages <= span_pages_max.
  [[nodiscard]] Span allocate(uint32_t pages) noexcept;
  void free(uint32_t first_page) noexcept;

  /// Of a span in use.
  [[nodiscard]] uint32_t span_pages(uint32_t first_page) const noexcept {
    return pages_[first_page].span_pages;
  }
  [[nodiscard]] uint32_t page_count() const noexcept {
    return static_cast<uint32_t>(pages_.size());
  }
  [[nodiscard]] uint32_t pages_in_use() const noexcept { return in_use_; }
  /// For tests: checks I1 to I3. Time proportional to the region.
  [[nodiscard]] bool is_valid() const;

 private:
  /// First and last page of each span say how long it is; the rest is not kept up.
  struct Page {
    uint32_t span_pages = 0;
    bool free = false;
    uint32_t next = kNoPage;  ///< free list, at the first page of a free span
    uint32_t previous = kNoPage;
  };

  [[nodiscard]] uint32_t list_of(uint32_t pages) const noexcept {
    return pages <= span_pages_max_ ? pages : span_pages_max_ + 1;
  }
  [[nodiscard]] uint32_t first_list_from(uint32_t list) const noexcept;
  void mark(uint32_t first_page, uint32_t pages, bool free) noexcept;
  void push(uint32_t first_page, uint32_t pages) noexcept;
  void remove(uint32_t first_page) noexcept;
  void want(uint64_t pages) noexcept;
  [[nodiscard]] Span take_from_top(uint32_t pages) noexcept;

  Region& region_;
  const uint32_t reserved_;
  const uint32_t span_pages_max_;
  uint32_t top_;
  uint32_t populated_pages_ = 0;  ///< what the region said when last asked
  uint32_t in_use_ = 0;
  std::vector<Page> pages_;
  std::vector<uint32_t> heads_;         ///< by list
  std::vector<uint64_t> bitmap_;        ///< lists that are not empty
  std::vector<uint64_t> bitmap_words_;  ///< words of bitmap_ that are not 0
};

}  // namespace copykv
