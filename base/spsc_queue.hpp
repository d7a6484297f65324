// SPDX-License-Identifier: Apache-2.0
// A bounded queue between one producer thread and one consumer thread of a process.
//
// PROTOCOL                                                     pairs with
//   producer  write the element, then publish(tail)              [Q] release
//   consumer  observe(tail), read the element                    [Q] acquire
//   consumer  publish(head) after the element was moved out      [R] release
//   producer  observe(head) before it writes over it             [R] acquire
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/atomics.hpp"

namespace copykv {

template <class T, uint32_t kCapacity>
class SpscQueue {
  static_assert((kCapacity & (kCapacity - 1)) == 0, "indices wrap by masking");

 public:
  /// Producer. False: full, nothing was changed.
  [[nodiscard]] bool push(T element) noexcept {
    if (tail_ - observe(head_) == kCapacity) return false;
    elements_[tail_ & (kCapacity - 1)] = std::move(element);
    publish(tail_, tail_ + 1);
    return true;
  }

  /// Consumer. False: empty.
  [[nodiscard]] bool pop(T& element) noexcept {
    if (head_ == observe(tail_)) return false;
    element = std::move(elements_[head_ & (kCapacity - 1)]);
    publish(head_, head_ + 1);
    return true;
  }

  [[nodiscard]] bool empty() const noexcept { return peek(head_) == observe(tail_); }

 private:
  alignas(kCacheLineBytes) uint32_t head_ = 0;  // written by the consumer
  alignas(kCacheLineBytes) uint32_t tail_ = 0;  // written by the producer
  std::array<T, kCapacity> elements_{};
};

}  // namespace copykv
