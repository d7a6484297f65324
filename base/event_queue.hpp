// SPDX-License-Identifier: Apache-2.0
// What is due at moments of a simulated clock: the earliest first, of one moment the lowest turn,
// and of one turn what was put in first, so that a run is decided by its seed alone.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <tuple>
#include <vector>

namespace copykv {

template <class What>
class EventQueue {
 public:
  struct Event {
    uint64_t at_ns;
    uint64_t turn;
    uint64_t order;  ///< of being put in; of no two events the same
    What what;
    bool operator>(const Event& other) const noexcept {
      return std::tie(at_ns, turn, order) > std::tie(other.at_ns, other.turn, other.order);
    }
  };

  /// Returns the event's order.
  uint64_t push(uint64_t at_ns, What what, uint64_t turn = 0) {
    events_.push({at_ns, turn, order_, what});
    return order_++;
  }
  /// UINT64_MAX: there is none.
  [[nodiscard]] uint64_t next_ns() const noexcept {
    return events_.empty() ? UINT64_MAX : events_.top().at_ns;
  }
  [[nodiscard]] bool is_due(uint64_t now_ns) const noexcept {
    return !events_.empty() && events_.top().at_ns <= now_ns;
  }
  /// Takes the first. There is one.
  Event pop() {
    const Event event = events_.top();
    events_.pop();
    return event;
  }

 private:
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_{};
  uint64_t order_ = 0;
};

}  // namespace copykv
