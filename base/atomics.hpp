// SPDX-License-Identifier: Apache-2.0
// The only file that names memory orders. Everything else says publish, observe, peek, poke.
//
//   publish / observe   release store / acquire load: what was written before the publish is
//   visible
//                       after the observe that sees it.
//   peek / poke         relaxed load / store: a value that carries no other data with it.
//   load_words, ...     relaxed 8-byte copies: for memory that another process may write at the
//   same
//                       time (a hostile or dying client), where a plain memcpy would be a data
//                       race.
//   store_fence         earlier accesses before later stores, for the writer of a version word.
//   full_fence          store-load fence, for the two sides of a sleep/wake announcement.
//
// In the checked build stores pass through a simulated store buffer (base/checked.hpp).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/sanitizers.hpp"
#if defined(COPYKV_CHECKED)
#include "base/checked.hpp"
#endif

namespace copykv {

inline constexpr size_t kCacheLineBytes = 64;

template <class T>
inline void publish(T& word, T value) noexcept {
#if defined(COPYKV_CHECKED)
  if (StoreBuffer::current != nullptr) return StoreBuffer::current->store(word, value, true);
#endif
  std::atomic_ref<T>(word).store(value, std::memory_order_release);
}

template <class T>
[[nodiscard]] inline T observe(const T& word) noexcept {
#if defined(COPYKV_CHECKED)
  if (StoreBuffer::current != nullptr) return StoreBuffer::current->load(word);
#endif
  return std::atomic_ref<T>(const_cast<T&>(word)).load(std::memory_order_acquire);
}

template <class T>
[[nodiscard]] inline T peek(const T& word) noexcept {
#if defined(COPYKV_CHECKED)
  if (StoreBuffer::current != nullptr) return StoreBuffer::current->load(word);
#endif
  return std::atomic_ref<T>(const_cast<T&>(word)).load(std::memory_order_relaxed);
}

template <class T>
inline void poke(T& word, T value) noexcept {
#if defined(COPYKV_CHECKED)
  if (StoreBuffer::current != nullptr) return StoreBuffer::current->store(word, value, false);
#endif
  std::atomic_ref<T>(word).store(value, std::memory_order_relaxed);
}

/// Adds to a counter that only the calling thread writes: a plain add that readers may watch.
template <class T>
inline void count(T& counter, T amount) noexcept {
  poke(counter, static_cast<T>(peek(counter) + amount));
}

/// Swaps with both acquire and release order; the one read-modify-write of the sleep protocol.
template <class T>
[[nodiscard]] inline T exchange(T& word, T value) noexcept {
#if defined(COPYKV_CHECKED)
  if (StoreBuffer::current != nullptr) StoreBuffer::current->drain();
#endif
  return std::atomic_ref<T>(word).exchange(value, std::memory_order_acq_rel);
}

/// Orders every earlier store before every later load, on this core.
inline void full_fence() noexcept {
#if defined(COPYKV_CHECKED)
  if (StoreBuffer::current != nullptr) StoreBuffer::current->drain();
#endif
#if COPYKV_TSAN
  // TSan does not model stand-alone fences; a read-modify-write orders as much and it knows it.
  static std::atomic<uint32_t> fence_word{0};
  fence_word.fetch_add(1, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

/// Orders every earlier access before every later store, on this core: the writer's side of a
/// version word that is odd while the data after it changes.
inline void store_fence() noexcept {
#if COPYKV_TSAN
  full_fence();
#else
  std::atomic_thread_fence(std::memory_order_release);
#endif
}

/// Stops the compiler, not the processor: the light side of an asymmetric fence, whose heavy side
/// is membarrier(2) (base/membarrier.hpp).
inline void compiler_barrier() noexcept {
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

inline void cpu_pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

inline void prefetch(const void* address) noexcept {
  __builtin_prefetch(address, 0, 3);
}
inline void prefetch_for_write(const void* address) noexcept {
  __builtin_prefetch(address, 1, 3);
}

/// Copies bytes out of memory that another process may be writing. `shared` is 8-byte aligned and
/// readable up to the next multiple of 8; `out` has `bytes` bytes.
inline void copy_from_shared(void* out, const void* shared, size_t bytes) noexcept {
  const auto* from = static_cast<const uint64_t*>(shared);
  auto* to = static_cast<unsigned char*>(out);
  const size_t words = bytes / 8;
  for (size_t index = 0; index < words; ++index) {
    const uint64_t word = peek(from[index]);
    std::memcpy(to + 8 * index, &word, 8);
  }
  if (bytes % 8 > 0) {
    const uint64_t word = peek(from[words]);
    std::memcpy(to + 8 * words, &word, bytes % 8);
  }
}

/// Copies bytes into memory that another process may be reading. `shared` is 8-byte aligned and
/// writable up to the next multiple of 8 (the tail is zero-filled).
inline void copy_to_shared(void* shared, const void* data, size_t bytes) noexcept {
  auto* to = static_cast<uint64_t*>(shared);
  const auto* from = static_cast<const unsigned char*>(data);
  const size_t words = bytes / 8;
  for (size_t index = 0; index < words; ++index) {
    uint64_t word;
    std::memcpy(&word, from + 8 * index, 8);
    poke(to[index], word);
  }
  if (bytes % 8 > 0) {
    uint64_t word = 0;
    std::memcpy(&word, from + 8 * words, bytes % 8);
    poke(to[words], word);
  }
}

}  // namespace copykv
