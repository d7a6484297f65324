// SPDX-License-Identifier: Apache-2.0
#include "shm/store_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>

#include <catch2/catch.hpp>

namespace copykv {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

std::unique_ptr<StoreMemory> make(uint64_t budget_bytes, HugePages huge_pages = HugePages::off) {
  auto made = StoreMemory::create({.budget_bytes = budget_bytes, .huge_pages = huge_pages});
  INFO(made.error);
  REQUIRE(made);
  return std::move(*made);
}

void populate_all(StoreMemory& memory) {
  uint32_t steps = 0;
  while (memory.populate_ahead()) REQUIRE(++steps < 10'000);
}

TEST_CASE("a budget outside the limits is refused with the remedy", "[store_memory]") {
  const uint64_t budget = GENERATE(as<uint64_t>{}, 0, 4 * kMiB, uint64_t{1} << 50);
  const auto made = StoreMemory::create({.budget_bytes = budget});
  REQUIRE_FALSE(made);
  CHECK_THAT(made.error, Catch::Contains("--memory"));
}

TEST_CASE("memory is populated ahead of what is wanted, never beyond the budget",
          "[store_memory]") {
  auto memory = make(64 * kMiB);
  CHECK(memory->index().populated_bytes == kPopulateStepBytes);
  CHECK(memory->arena().populated_bytes == kPopulateStepBytes);
  populate_all(*memory);
  CHECK_FALSE(memory->wants_populating());
  CHECK(memory->arena().populated_bytes == 4 * kMiB);

  memory->arena().wanted_bytes = 20 * kMiB;
  CHECK(memory->wants_populating());
  populate_all(*memory);
  CHECK(memory->arena().populated_bytes == 24 * kMiB);
  CHECK(memory->arena().exhausted == 0);

  memory->arena().wanted_bytes = 64 * kMiB;
  memory->index().wanted_bytes = 64 * kMiB;
  populate_all(*memory);
  CHECK(memory->populated_bytes() == 64 * kMiB);
  CHECK(memory->arena().exhausted == 1);
  CHECK(memory->index().exhausted == 1);
  CHECK_FALSE(memory->wants_populating());
  CHECK(memory->populate_error().empty());
}

TEST_CASE("neither region starves the other", "[store_memory]") {
  auto memory = make(128 * kMiB);
  memory->arena().wanted_bytes = 128 * kMiB;
  populate_all(*memory);
  CHECK(memory->arena().populated_bytes == 120 * kMiB);  // 1/16 is kept for the index
  CHECK(memory->arena().exhausted == 1);
  CHECK(memory->index().exhausted == 0);
  memory->index().wanted_bytes = 8 * kMiB;
  populate_all(*memory);
  CHECK(memory->index().populated_bytes == 8 * kMiB);
  CHECK(memory->index().exhausted == 1);
  CHECK(memory->populated_bytes() == 128 * kMiB);
}

TEST_CASE("populated memory is there, zero and writable", "[store_memory]") {
  auto memory = make(8 * kMiB);
  for (Region* region : {&memory->index(), &memory->arena()}) {
    unsigned char present[kPopulateStepBytes / 4096];
    REQUIRE(mincore(region->base, kPopulateStepBytes, present) == 0);
    uint64_t missing = 0;
    for (const unsigned char page : present) missing += (page & 1) == 0 ? 1 : 0;
    CHECK(missing == 0);
    for (uint64_t at = 0; at < kPopulateStepBytes; at += 4096) {
      if (region->base[at] != std::byte{0}) FAIL("not zero at " << at);
      region->base[at] = std::byte{1};
    }
  }
}

TEST_CASE("others can map the memory read-only and in no other way", "[store_memory]") {
  const auto memory = make(8 * kMiB);
  const auto bytes = memory->file_bytes();
  CHECK(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd(), 0) == MAP_FAILED);
  CHECK(errno == EPERM);
  CHECK(ftruncate(memory->fd(), 4096) != 0);
  CHECK(ftruncate(memory->fd(), static_cast<off_t>(2 * bytes)) != 0);
  CHECK(fcntl(memory->fd(), F_ADD_SEALS, F_SEAL_WRITE) != 0);
  void* view = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, memory->fd(), 0);
  REQUIRE(view != MAP_FAILED);
  CHECK(mprotect(view, bytes, PROT_READ | PROT_WRITE) != 0);
  *memory->arena().base = std::byte{7};
  CHECK(static_cast<std::byte*>(view)[memory->arena_file_offset()] == std::byte{7});
  munmap(view, bytes);
}

TEST_CASE("huge pages are used where granted, and the note says what was got", "[store_memory]") {
  const auto memory = make(8 * kMiB, HugePages::attempt);
  CHECK(reinterpret_cast<uint64_t>(memory->index().base) % kPopulateStepBytes == 0);
  CHECK(reinterpret_cast<uint64_t>(memory->arena().base) % kPopulateStepBytes == 0);
  if (memory->page_note() != "2 MiB pages (hugetlb)") {
    // Each step is transparent-huge or the note says why not.
    CHECK_THAT(memory->page_note(), Catch::Contains("vm.nr_hugepages"));
    CHECK_THAT(memory->page_note(),
               Catch::Contains("for 4 of 4 MiB") || Catch::Contains("MADV_COLLAPSE"));
  }
  const auto required =
      StoreMemory::create({.budget_bytes = 8 * kMiB, .huge_pages = HugePages::require});
  if (!required) CHECK_THAT(required.error, Catch::Contains("nr_hugepages"));
  const auto off = make(8 * kMiB, HugePages::off);
  CHECK_THAT(off->page_note(), Catch::Contains("4 KiB"));
}

TEST_CASE("a node that does not exist is refused", "[store_memory]") {
  CHECK(StoreMemory::create({.budget_bytes = 8 * kMiB, .numa_node = 0}));
  const auto made = StoreMemory::create({.budget_bytes = 8 * kMiB, .numa_node = 5000});
  REQUIRE_FALSE(made);
  CHECK_THAT(made.error, Catch::Contains("NUMA"));
}

}  // namespace
}  // namespace copykv
