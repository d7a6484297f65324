// SPDX-License-Identifier: Apache-2.0
// The memory of one shard: one memfd that holds the index region (FastMap buckets) and the arena
// region (items), both position-independent.
//
// LAYOUT (bytes from file start)
//   0        index region   virtual size = budget
//   budget   arena region   virtual size = budget
// Only what is populated takes memory, and populated(index) + populated(arena) <= budget, always.
//
// SHARING THE BUDGET  1/16 is kept for the index, so that large values, which need little index,
//   cannot starve the small ones that may come after them. Beyond that, first come, first served.
//
// THREADS  The control thread creates and populates. The daemon thread uses the regions and never
//   calls a function here. Destroy after the daemon thread has ended.
// TRUST    Sealed after mapping: nobody else can map it writable, shrink or grow it.
// PROVED BY  tests/unit/shm/store_memory_test.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "shm/region.hpp"

namespace copykv {

inline constexpr uint64_t kPopulateStepBytes = uint64_t{2} << 20;
inline constexpr uint64_t kStoreBudgetBytesMin = 4 * kPopulateStepBytes;
inline constexpr uint64_t kStoreBudgetBytesMax = uint64_t{256} << 30;  ///< 35-bit item references

enum class HugePages : uint8_t {
  off,      ///< 4 KiB pages
  attempt,  ///< hugetlb pool, else transparent, else 4 KiB; page_note() says which and why
  require,  ///< hugetlb pool or an error
};

struct StoreMemoryOptions {
  uint64_t budget_bytes = uint64_t{1} << 30;  ///< rounded down to a multiple of 2 MiB
  HugePages huge_pages = HugePages::attempt;
  int numa_node = -1;  ///< prefer memory of this node; -1: no preference
};

class StoreMemory {
 public:
  /// Maps, seals, and populates the first step of each region. The error line names the remedy.
  [[nodiscard]] static Outcome<std::unique_ptr<StoreMemory>> create(
      const StoreMemoryOptions& options);

  StoreMemory(const StoreMemory&) = delete;
  StoreMemory& operator=(const StoreMemory&) = delete;
  ~StoreMemory();

  /// Populates at most one step (2 MiB) of the region that needs it more. Returns true when more is
  /// wanted: call again at once. Else call again when wants_populating(), or every few
  /// milliseconds.
  [[nodiscard]] bool populate_ahead() noexcept;
  /// Cheap: whether populate_ahead() has something to do.
  [[nodiscard]] bool wants_populating() const noexcept;

  [[nodiscard]] Region& index() noexcept { return index_; }
  [[nodiscard]] Region& arena() noexcept { return arena_; }
  [[nodiscard]] const Region& index() const noexcept { return index_; }
  [[nodiscard]] const Region& arena() const noexcept { return arena_; }

  /// For passing to clients, which can map it read-only. Owned by this object.
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] uint64_t file_bytes() const noexcept { return 2 * budget_bytes_; }
  [[nodiscard]] uint64_t index_file_offset() const noexcept { return 0; }
  [[nodiscard]] uint64_t arena_file_offset() const noexcept { return budget_bytes_; }
  [[nodiscard]] uint64_t budget_bytes() const noexcept { return budget_bytes_; }
  [[nodiscard]] uint64_t populated_bytes() const noexcept;
  /// What pages were got so far, and why not better ones. For the control thread.
  [[nodiscard]] std::string page_note() const;
  /// Empty, or why populating stopped before the budget was reached.
  [[nodiscard]] std::string populate_error() const;

 private:
  StoreMemory() = default;
  [[nodiscard]] Outcome<void> map();
  [[nodiscard]] uint64_t cap_of(const Region& region) const noexcept;
  [[nodiscard]] uint64_t goal_of(const Region& region) const noexcept;
  [[nodiscard]] bool grow(Region& region) noexcept;
  void collapse(std::byte* step) noexcept;

  Fd fd_;
  std::byte* reserved_ = nullptr;
  uint64_t reserved_bytes_ = 0;
  std::byte* base_ = nullptr;
  uint64_t budget_bytes_ = 0;
  uint64_t index_reserve_bytes_ = 0;
  uint64_t index_ahead_bytes_ = 0;
  uint64_t arena_ahead_bytes_ = 0;
  int populate_errno_ = 0;

  HugePages huge_pages_ = HugePages::off;
  std::string why_not_hugetlb_;  ///< empty: it is hugetlb
  uint64_t steps_ = 0;           ///< populated when a huge page was wanted
  uint64_t collapsed_steps_ = 0;
  uint32_t collapse_failures_ = 0;
  int collapse_errno_ = 0;

  Region index_;
  Region arena_;
};

}  // namespace copykv
