// SPDX-License-Identifier: Apache-2.0
// A processor of the simulated machine: code runs on it, and its stores become visible to others
// when they drain. Without the checked build (base/checked.hpp) stores are visible at once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/random.hpp"
#if defined(COPYKV_CHECKED)
#include "base/checked.hpp"
#endif

namespace copykv::sim {

#if defined(COPYKV_CHECKED)

inline constexpr bool kCheckedBuild = true;

class Processor {
 public:
  template <class Work>
  auto run(Work work) {
    struct Running {
      explicit Running(StoreBuffer& buffer) : before(StoreBuffer::current) {
        StoreBuffer::current = &buffer;
      }
      ~Running() { StoreBuffer::current = before; }
      StoreBuffer* before;
    } running(stores_);
    return work();
  }
  void share(const void* base, size_t bytes) { stores_.watch(base, bytes); }
  void unshare(const void* base, size_t bytes) { stores_.forget(base, bytes); }
  void drain() { stores_.drain(); }
  /// Some of what waits, in an order that the memory model allows.
  void drain_some(Random& random) {
    stores_.drain_some([&random] { return random.below(2) == 0; });
  }
  [[nodiscard]] bool has_drained() const { return stores_.empty(); }
  /// Nothing that the running code stores from now on happens: its process has died.
  void die() { stores_.die(); }

 private:
  StoreBuffer stores_{};
};

#else

inline constexpr bool kCheckedBuild = false;

class Processor {
 public:
  template <class Work>
  auto run(Work work) {
    return work();
  }
  void share(const void*, size_t) {}
  void unshare(const void*, size_t) {}
  void drain() {}
  void drain_some(Random&) {}
  [[nodiscard]] bool has_drained() const { return true; }
};

#endif

}  // namespace copykv::sim
