// SPDX-License-Identifier: Apache-2.0
// The operations of one key, made ready for the search: what says nothing is gone, and what the
// uniqueness of values tells is worked in.
//
//   READ VALUES   An open put whose value was read has happened: it must stand in the order, before
//     the first read of it ends. A put whose version was not told has the version that its readers
//     were told.
//   UNREAD ONES   An open put whose value nobody read may be left out. All of one kind are alike
//     (`group`), so that the search tries one of them where it would try hundreds.
//   LIVES         What was told indeterminate stands before the next wipe, or not at all.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sim/check/history.hpp"

namespace copykv::sim {

inline constexpr uint32_t kNone = UINT32_MAX;

struct Step {
  Operation operation;
  uint32_t after = kNone;  ///< the step of the same client, or the wipe, that must stand before it
  uint32_t not_beyond = kNone;    ///< the wipe that it must stand before
  uint32_t group = kNone;         ///< optional: it may be left out; steps of one group are alike
  bool only_looks = false;        ///< it may leave the state as it is
  uint64_t writes_version = 0;    ///< told version of what it wrote; 0: none was told
  bool may_need_optional = true;  ///< an optional step before it can make it possible
  bool orders_versions = false;   ///< and no wipe near: no higher version before it

  [[nodiscard]] bool optional() const noexcept { return group != kNone; }
};

/// A moment at which the search has something to do; in the order of time, beginnings first.
struct Event {
  enum class What : uint32_t { begin, end, expired };
  uint64_t time_ns;
  What what;
  uint32_t step;
};

class Timeline {
 public:
  /// Of the operations of one key, sorted by their beginnings, in the order of submission where
  /// those are equal. Returns what is wrong with the history itself, or empty.
  [[nodiscard]] std::string build(std::span<const Operation* const> operations, bool client_order);

  [[nodiscard]] const std::vector<Step>& steps() const noexcept { return steps_; }
  [[nodiscard]] const std::vector<Event>& events() const noexcept { return events_; }
  [[nodiscard]] uint32_t groups() const noexcept { return group_count_; }
  /// Most steps that are in flight at once, with optional ones, which always are.
  [[nodiscard]] uint32_t slots_max() const noexcept { return slots_max_; }
  [[nodiscard]] uint32_t step_of_value(uint64_t value) const noexcept;

 private:
  [[nodiscard]] std::string name_values();
  void learn_from_reads();
  void keep_client_order();
  [[nodiscard]] std::string order_wipes();
  void bound_by_wipes();
  void find_groups();
  void order_versions();
  void find_needs();
  [[nodiscard]] bool wiped_between(uint64_t from_ns, uint64_t until_ns) const noexcept;
  [[nodiscard]] uint32_t group_of(const Operation& open);
  void list_events();

  std::vector<Step> steps_;
  std::vector<Event> events_;
  std::vector<std::pair<uint64_t, uint32_t>> writers_;   ///< by value
  std::vector<std::pair<uint64_t, uint32_t>> versions_;  ///< that were told, by whom: sorted
  std::vector<uint32_t> wipes_;                          ///< in their order
  std::vector<std::pair<Operation, uint32_t>> groups_;   ///< that can have several: one of each
  uint32_t group_count_ = 0;
  uint32_t slots_max_ = 0;
};

}  // namespace copykv::sim
