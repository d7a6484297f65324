// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/allocation_count.hpp"

#include <cstdlib>
#include <new>

#include "base/atomics.hpp"

namespace {
uint64_t allocations = 0;
}  // namespace

namespace copykv::test {
uint64_t allocation_count() noexcept {
  return peek(allocations);
}
}  // namespace copykv::test

#if !COPYKV_TSAN
void* operator new(size_t bytes) {
  copykv::count<uint64_t>(allocations, 1);
  if (void* memory = std::malloc(bytes); memory != nullptr) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  copykv::count<uint64_t>(allocations, 1);
  return std::malloc(bytes);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
#endif
