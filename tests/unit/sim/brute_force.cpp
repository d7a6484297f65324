// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/sim/brute_force.hpp"

#include <algorithm>
#include <vector>

#include "sim/check/specification.hpp"

namespace copykv::sim {
namespace {

/// An operation, or the end of the life that one gives.
struct Item {
  const Operation* operation;
  bool is_expiry;
  uint64_t begin_ns;
  uint64_t end_ns;
  uint32_t id;  ///< of the operation
};

class AllOrders {
 public:
  AllOrders(const History& history, bool client_order)
      : operations_(history.operations()), client_order_(client_order) {
    for (Operation& operation : operations_) learn_version(operation);
    uint32_t id = 0;
    for (const Operation& operation : operations_) {
      ++id;
      possible_ = possible_ && can_end_so(operation);
      if (says_nothing(operation)) continue;
      const uint64_t end_ns = operation.open() ? kOpen : operation.end_ns;
      items_.push_back({&operation, false, operation.begin_ns, end_ns, id});
      if (!operation.expires()) continue;
      const uint64_t until_ns =
          operation.open() ? kOpen : std::max(operation.expires_until_ns, operation.end_ns);
      items_.push_back({&operation, true, operation.expires_from_ns, until_ns, id});
    }
    placed_.assign(items_.size(), false);
  }

  [[nodiscard]] bool any() { return possible_ && goes_on({}); }

 private:
  /// Which version a write made that was not told, its readers know.
  void learn_version(Operation& put) {
    if (put.kind != Kind::put || put.number || put.version != kNotTold) return;
    for (const Operation& get : operations_) {
      const bool reads = get.kind == Kind::get && get.status == Status::ok && !get.number;
      if (reads && get.observed == put.argument && put.version == kNotTold) {
        put.version = get.version;
      }
    }
  }

  [[nodiscard]] bool goes_on(const KeyState& state) {
    if (complete()) return true;
    for (size_t next = 0; next < items_.size(); ++next) {
      if (placed_[next] || !may_be_next(next)) continue;
      const Item& item = items_[next];
      KeyState after = state;
      if (!item.is_expiry) {
        if (!apply(after, *item.operation, item.id)) continue;
      } else if (after.expiry == item.id) {
        expire(after);
      }
      placed_[next] = true;
      if (goes_on(after)) return true;
      placed_[next] = false;
    }
    return false;
  }

  [[nodiscard]] bool complete() const {
    for (size_t at = 0; at < items_.size(); ++at) {
      if (!placed_[at] && required(items_[at])) return false;
    }
    return true;
  }

  [[nodiscard]] bool required(const Item& item) const {
    if (item.end_ns == kOpen) return false;
    return !item.is_expiry || is_placed(item.id);
  }

  [[nodiscard]] bool is_placed(uint32_t id) const {
    for (size_t at = 0; at < items_.size(); ++at) {
      if (items_[at].id == id && !items_[at].is_expiry) return placed_[at];
    }
    return false;
  }

  [[nodiscard]] bool may_be_next(size_t next) const {
    const Item& item = items_[next];
    if (item.is_expiry && !is_placed(item.id)) return false;
    for (size_t at = 0; at < items_.size(); ++at) {
      const Item& other = items_[at];
      if (placed_[at]) {
        if (!item.is_expiry && bars(other, item)) return false;
        continue;
      }
      if (at == next) continue;
      if (other.end_ns < item.begin_ns && (!other.is_expiry || is_placed(other.id))) return false;
      if (!item.is_expiry && !other.is_expiry && is_before(at, next)) return false;
    }
    return true;
  }

  /// `item` was told indeterminate before the life that begins with the wipe `placed`.
  [[nodiscard]] static bool bars(const Item& placed, const Item& item) {
    const Operation& operation = *item.operation;
    if (placed.operation->kind != Kind::wipe || operation.kind == Kind::wipe) return false;
    return operation.open() && operation.ended() && placed.operation->ended() &&
           placed.operation->end_ns >= operation.end_ns;
  }

  [[nodiscard]] bool is_before(size_t a, size_t b) const {
    const Operation& first = *items_[a].operation;
    const Operation& second = *items_[b].operation;
    if (first.kind == Kind::wipe && second.kind == Kind::wipe) return items_[a].id < items_[b].id;
    if (!client_order_ || first.process != second.process || first.open() || second.open() ||
        first.kind == Kind::wipe || second.kind == Kind::wipe) {
      return false;
    }
    if (first.begin_ns != second.begin_ns) return first.begin_ns < second.begin_ns;
    return items_[a].id < items_[b].id;
  }

  std::vector<Operation> operations_;
  std::vector<Item> items_;
  std::vector<bool> placed_;
  bool client_order_;
  bool possible_ = true;
};

}  // namespace

bool has_an_order(const History& history, bool client_order) {
  return AllOrders(history, client_order).any();
}

}  // namespace copykv::sim
