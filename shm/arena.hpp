// SPDX-License-Identifier: Apache-2.0
// Memory for items: position-independent, so everything is an offset from the start of the region.
//
//   up to 32 KiB   size classes: 16..512 in steps of 8, then eight per doubling; objects of one
//                  class share slabs of 64 KiB (four pages), carved as needed, never at once
//   beyond         whole pages of 16 KiB from the page heap
// A slab without live objects goes back to the page heap at once.
//
// INVARIANTS
//   I1  used_bytes == sum over live objects of what they occupy (class size, or whole pages).
//   I2  per slab: live + free-listed == carved <= capacity, live > 0.
//   I3  a slab is on its class's list exactly when it has room.
//   I4  objects are 8-byte aligned; objects whose class is a multiple of 64 are 64-byte aligned.
// THREADS    Owned by one daemon thread. Nothing is allocated after construction.
// COST       allocate and free are O(1).
// PROVED BY  tests/unit/shm/arena_test.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/item.hpp"
#include "shm/page_heap.hpp"
#include "shm/region.hpp"

namespace copykv {

struct Allocation {
  Room room;
  Offset offset;  ///< 0 unless room is ok
};

class Arena {
 public:
  static constexpr uint32_t kSlabPages = 4;
  static constexpr uint32_t kSlabBytes = kSlabPages * kArenaPageBytes;
  static constexpr uint32_t kSmallBytesMax = 32768;
  static constexpr uint32_t kReservedPages = 1;  ///< so that offset 0 can mean "none"

  /// `allocation_bytes_max`: the largest size that will be asked for.
  Arena(Region& region, uint64_t allocation_bytes_max);

  /// 1 <= bytes <= allocation_bytes_max. The contents are undefined.
  [[nodiscard]] Allocation allocate(uint64_t bytes) noexcept;
  void free(Offset offset) noexcept;

  [[nodiscard]] std::byte* at(Offset offset) const noexcept { return base_ + offset; }
  /// What an object of this size occupies.
  [[nodiscard]] static uint64_t rounded_bytes(uint64_t bytes) noexcept;

  [[nodiscard]] uint64_t used_bytes() const noexcept { return used_bytes_; }
  [[nodiscard]] uint64_t live_objects() const noexcept { return live_objects_; }
  /// Slabs and spans: what used_bytes takes, with the room inside slabs.
  [[nodiscard]] uint64_t held_bytes() const noexcept {
    return uint64_t{heap_.pages_in_use()} * kArenaPageBytes;
  }
  /// For tests. Time proportional to the region.
  [[nodiscard]] bool is_valid() const;

 private:
  static constexpr uint16_t kNoObject = UINT16_MAX;
  static constexpr uint8_t kSpan = UINT8_MAX;

  /// Per page; `head` and `size_class` stand at every page of a slab, the rest at its first.
  struct Page {
    uint32_t head = kNoPage;  ///< first page of the slab or span; kNoPage: free
    uint8_t size_class = 0;   ///< kSpan: not a slab
    bool listed = false;
    uint16_t live = 0;
    uint16_t carved = 0;
    uint16_t free_object = kNoObject;  ///< first of a list kept in the free objects
    uint32_t next = kNoPage;           ///< slabs of the class that have room
    uint32_t previous = kNoPage;
  };

  [[nodiscard]] Allocation allocate_span(uint64_t bytes) noexcept;
  [[nodiscard]] Room open_slab(uint8_t size_class) noexcept;
  void close_slab(uint32_t head) noexcept;
  void list(uint32_t head) noexcept;
  void unlist(uint32_t head) noexcept;
  [[nodiscard]] bool slab_is_valid(uint32_t head) const;

  std::byte* base_;
  uint64_t used_bytes_ = 0;
  uint64_t live_objects_ = 0;
  PageHeap heap_;
  std::vector<Page> pages_;
  std::vector<uint32_t> slabs_with_room_;  ///< by class: the one to take from
};

}  // namespace copykv
