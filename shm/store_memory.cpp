// SPDX-License-Identifier: Apache-2.0
#include "shm/store_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/units.hpp"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21U << 26)
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace copykv {

namespace {

constexpr uint64_t kArenaAheadBytesMax = uint64_t{64} << 20;
constexpr uint64_t kIndexAheadBytesMax = uint64_t{4} << 20;
constexpr uint64_t kIndexShare = 16;
constexpr uint64_t kSmallPageBytes = 4096;
constexpr uint32_t kCollapseFailuresMax = 16;  // a machine that is that fragmented will not mend
constexpr int kPreferredNode = 1;              // MPOL_PREFERRED; numaif.h belongs to libnuma

constexpr uint64_t round_down(uint64_t bytes, uint64_t step) {
  return bytes / step * step;
}
constexpr uint64_t round_up(uint64_t bytes, uint64_t step) {
  return (bytes + step - 1) / step * step;
}

std::string reason(int error) {
  return std::strerror(error);
}

uint64_t free_huge_pages() {
  std::ifstream file("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
  uint64_t pages = 0;
  return file >> pages ? pages : 0;
}

struct File {
  Fd fd;
  std::string why_not_hugetlb;  ///< empty: it is
};

/// An empty file of the best kind of pages that `wanted` allows.
Outcome<File> open_file(HugePages wanted, uint64_t budget_bytes) {
  const uint64_t needed = budget_bytes / kPopulateStepBytes;
  std::string why;
  if (wanted != HugePages::off) {
    const uint64_t free = free_huge_pages();
    why = fmt::format("the hugetlb pool has {} of {} pages free; raise vm.nr_hugepages",
                      format_count(free), format_count(needed));
    if (free >= needed) {
      Fd fd(memfd_create("copykv-store",
                         MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_HUGE_2MB));
      if (fd) return File{std::move(fd), ""};
      why = fmt::format("memfd_create with hugetlb: {}", reason(errno));
    }
    if (wanted == HugePages::require) {
      return Failure{fmt::format("no huge pages for the store: {}, or use --huge-pages try", why)};
    }
  }
  Fd fd(memfd_create("copykv-store", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return Failure{fmt::format("memfd_create for the store: {}", reason(errno))};
  return File{std::move(fd), why};
}

Outcome<void> prefer_node(std::byte* base, uint64_t bytes, int node) {
  constexpr size_t kWordBits = 8 * sizeof(unsigned long);
  unsigned long mask[16] = {};
  const auto bit = static_cast<size_t>(node);
  if (bit >= std::size(mask) * kWordBits) return Failure{fmt::format("no NUMA node {}", node)};
  mask[bit / kWordBits] = 1UL << (bit % kWordBits);
  if (syscall(SYS_mbind, base, bytes, kPreferredNode, mask, std::size(mask) * kWordBits, 0U) == 0) {
    return {};
  }
  // A kernel without NUMA has one node, where everything is anyhow.
  if (errno == ENOSYS) return {};
  return Failure{fmt::format("cannot prefer memory of NUMA node {}: {}; see numactl --hardware",
                             node, reason(errno))};
}

Outcome<uint64_t> checked_budget(uint64_t asked_bytes) {
  const uint64_t budget = round_down(asked_bytes, kPopulateStepBytes);
  if (budget < kStoreBudgetBytesMin || budget > kStoreBudgetBytesMax) {
    return Failure{
        fmt::format("{} of memory per daemon thread is outside {} .. {}; change --memory",
                    format_bytes(asked_bytes), format_bytes(kStoreBudgetBytesMin),
                    format_bytes(kStoreBudgetBytesMax))};
  }
  const auto machine =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (budget > machine) {
    return Failure{
        fmt::format("{} of memory per daemon thread, but the machine has {}; lower --memory",
                    format_bytes(budget), format_bytes(machine))};
  }
  return budget;
}

/// 0, or an errno. Never leaves a page that would fault later: SIGBUS cannot happen.
int populate(int fd, uint64_t file_offset, std::byte* from, uint64_t bytes) {
  for (int tries = 0; tries < 100; ++tries) {
    if (madvise(from, bytes, MADV_POPULATE_WRITE) == 0) return 0;
    if (errno != EINTR && errno != EAGAIN) break;
  }
  // EFAULT is what a hugetlb pool without a free page gives; others know no MADV_POPULATE_WRITE.
  if (errno != EINVAL) return errno == EFAULT ? ENOMEM : errno;
  if (fallocate(fd, 0, static_cast<off_t>(file_offset), static_cast<off_t>(bytes)) != 0) {
    return errno;
  }
  for (uint64_t page = 0; page < bytes; page += kSmallPageBytes) {
    poke(*reinterpret_cast<uint64_t*>(from + page), uint64_t{0});
  }
  return 0;
}

}  // namespace

Outcome<std::unique_ptr<StoreMemory>> StoreMemory::create(const StoreMemoryOptions& options) {
  const Outcome<uint64_t> budget = checked_budget(options.budget_bytes);
  if (!budget) return Failure{budget.error};

  std::unique_ptr<StoreMemory> memory(new StoreMemory);
  memory->budget_bytes_ = *budget;
  memory->index_reserve_bytes_ =
      std::max(round_up(*budget / kIndexShare, kPopulateStepBytes), kPopulateStepBytes);
  const uint64_t ahead = std::max(round_down(*budget / 16, kPopulateStepBytes), kPopulateStepBytes);
  memory->arena_ahead_bytes_ = std::min(ahead, kArenaAheadBytesMax);
  memory->index_ahead_bytes_ = std::min(ahead, kIndexAheadBytesMax);

  Outcome<File> file = open_file(options.huge_pages, *budget);
  if (!file) return Failure{file.error};
  memory->fd_ = std::move(file->fd);
  memory->huge_pages_ = options.huge_pages;
  memory->why_not_hugetlb_ = std::move(file->why_not_hugetlb);
  if (Outcome<void> mapped = memory->map(); !mapped) return Failure{mapped.error};
  if (options.numa_node >= 0) {
    Outcome<void> bound = prefer_node(memory->base_, memory->file_bytes(), options.numa_node);
    if (!bound) return Failure{bound.error};
  }
  if (!memory->grow(memory->index_) || !memory->grow(memory->arena_)) {
    return Failure{memory->populate_error()};
  }
  return memory;
}

Outcome<void> StoreMemory::map() {
  if (ftruncate(fd_.get(), static_cast<off_t>(file_bytes())) != 0) {
    return Failure{fmt::format("cannot size the store to {}: {}; raise ulimit -f or lower --memory",
                               format_bytes(file_bytes()), reason(errno))};
  }
  // Addresses first, then the file on a 2 MiB boundary of them: huge pages need it.
  reserved_bytes_ = file_bytes() + kPopulateStepBytes;
  void* const reserved =
      mmap(nullptr, reserved_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  void* base = MAP_FAILED;
  if (reserved != MAP_FAILED) {
    reserved_ = static_cast<std::byte*>(reserved);
    const uint64_t address = reinterpret_cast<uint64_t>(reserved);
    base = mmap(reserved_ + (round_up(address, kPopulateStepBytes) - address), file_bytes(),
                PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd_.get(), 0);
  }
  if (base == MAP_FAILED) {
    return Failure{fmt::format("cannot map {} for the store: {}; raise ulimit -v or lower --memory",
                               format_bytes(file_bytes()), reason(errno))};
  }
  base_ = static_cast<std::byte*>(base);
  if (fcntl(fd_.get(), F_ADD_SEALS,
            F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
    return Failure{fmt::format("cannot seal the store: {}; copykv needs Linux 5.1", reason(errno))};
  }
  // A dump of the store would be the size of the data.
  (void)madvise(base_, file_bytes(), MADV_DONTDUMP);
  if (huge_pages_ != HugePages::off) (void)madvise(base_, file_bytes(), MADV_HUGEPAGE);
  index_.base = base_ + index_file_offset();
  arena_.base = base_ + arena_file_offset();
  index_.virtual_bytes = arena_.virtual_bytes = budget_bytes_;
  return {};
}

StoreMemory::~StoreMemory() {
  if (reserved_ != nullptr) munmap(reserved_, reserved_bytes_);
}

uint64_t StoreMemory::populated_bytes() const noexcept {
  return observe(index_.populated_bytes) + observe(arena_.populated_bytes);
}

uint64_t StoreMemory::cap_of(const Region& region) const noexcept {
  if (&region == &index_) return budget_bytes_ - peek(arena_.populated_bytes);
  return budget_bytes_ - std::max(peek(index_.populated_bytes), index_reserve_bytes_);
}

uint64_t StoreMemory::goal_of(const Region& region) const noexcept {
  const uint64_t ahead = &region == &index_ ? index_ahead_bytes_ : arena_ahead_bytes_;
  const uint64_t goal = round_up(peek(region.wanted_bytes) + ahead, kPopulateStepBytes);
  return std::min(goal, cap_of(region));
}

bool StoreMemory::wants_populating() const noexcept {
  const auto behind = [this](const Region& region) {
    return peek(region.populated_bytes) < goal_of(region) ||
           (peek(region.exhausted) == 0 && peek(region.populated_bytes) >= cap_of(region));
  };
  return behind(index_) || behind(arena_);
}

bool StoreMemory::populate_ahead() noexcept {
  bool grown = false;
  // The index first: it needs little, and a map that cannot grow is slow for as long as it lives.
  if (peek(index_.populated_bytes) < goal_of(index_)) {
    grown = grow(index_);
  } else if (peek(arena_.populated_bytes) < goal_of(arena_)) {
    grown = grow(arena_);
  }
  for (Region* region : {&index_, &arena_}) {
    if (peek(region->populated_bytes) >= cap_of(*region)) publish(region->exhausted, 1U);
  }
  return grown && wants_populating();
}

/// Asks for the step as one huge page. MADV_COLLAPSE gives one whatever shmem_enabled says; it
/// wants one small page to begin with.
void StoreMemory::collapse(std::byte* step) noexcept {
  if (huge_pages_ != HugePages::attempt || why_not_hugetlb_.empty()) return;
  ++steps_;
  if (collapse_failures_ >= kCollapseFailuresMax) return;
  if (madvise(step, kSmallPageBytes, MADV_POPULATE_WRITE) == 0 &&
      madvise(step, kPopulateStepBytes, MADV_COLLAPSE) == 0) {
    ++collapsed_steps_;
    return;
  }
  ++collapse_failures_;
  collapse_errno_ = errno;
}

std::string StoreMemory::page_note() const {
  if (huge_pages_ == HugePages::off) return "4 KiB pages (as asked)";
  if (why_not_hugetlb_.empty()) return "2 MiB pages (hugetlb)";
  std::string note = fmt::format("transparent 2 MiB pages for {} of {} MiB populated; {}",
                                 2 * collapsed_steps_, 2 * steps_, why_not_hugetlb_);
  if (collapse_failures_ == 0) return note;
  return fmt::format("{}; MADV_COLLAPSE: {} (needs Linux 6.1 and unfragmented memory)", note,
                     reason(collapse_errno_));
}

bool StoreMemory::grow(Region& region) noexcept {
  const uint64_t populated = peek(region.populated_bytes);
  collapse(region.base + populated);
  const uint64_t file_offset =
      populated + (&region == &index_ ? index_file_offset() : arena_file_offset());
  populate_errno_ = populate(fd_.get(), file_offset, region.base + populated, kPopulateStepBytes);
  if (populate_errno_ != 0) {
    publish(region.exhausted, 1U);
    return false;
  }
  publish(region.populated_bytes, populated + kPopulateStepBytes);  // [F]
  publish(region.exhausted, 0U);
  return true;
}

std::string StoreMemory::populate_error() const {
  if (populate_errno_ == 0) return {};
  return fmt::format("the machine gave the store {} of {}: {}; lower --memory or free memory",
                     format_bytes(populated_bytes()), format_bytes(budget_bytes_),
                     reason(populate_errno_));
}

}  // namespace copykv
