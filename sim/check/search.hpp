// SPDX-License-Identifier: Apache-2.0
// The search for an order of one key's operations.
//
// It goes through the events of a Timeline and keeps all Configs that are possible at that moment:
// a state of the key, and which of the steps in flight stand in the order already. At the end of a
// step, a Config that lacks it is replaced by all that come from it by putting steps in flight into
// the order until the one that ends is among them. No Config left: no order exists.
//
// WHY IT IS FAST   Steps that only look enter the order as soon as they see what they told: later
//   would not be better. A write whose version was told waits for all in flight with lower ones. Of
//   optional steps that are alike, the one that can wait least is tried. A Config that differs from
//   another only in having used up more optional steps is dropped. And of those that differ in
//   nothing but which optional steps they have used up, only a few are kept at first (`width`):
//   where they find an order there is one; where they get stuck, more are kept the next time, and
//   at last all.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/check/specification.hpp"
#include "sim/check/timeline.hpp"

namespace copykv::sim {

/// A set of Configs. The bits of a Config are by slot of a step.
class ConfigSet {
 public:
  /// `width`: how many are kept that differ only in the optional steps used up.
  void clear(size_t mask_words, size_t width) noexcept;
  /// Unless it, or one that is at least as good, is there already.
  void add(const KeyState& state, std::span<const uint64_t> mask,
           std::span<const uint64_t> optional);
  /// Some were left out for the sake of the width.
  [[nodiscard]] bool narrowed() const noexcept { return narrowed_; }
  void keep_if(const std::vector<bool>& keep);

  [[nodiscard]] size_t size() const noexcept { return states_.size(); }
  [[nodiscard]] const KeyState& state(size_t index) const noexcept { return states_[index]; }
  [[nodiscard]] std::span<uint64_t> mask(size_t index) noexcept {
    return {masks_.data() + index * words_, words_};
  }
  [[nodiscard]] std::span<const uint64_t> mask(size_t index) const noexcept {
    return {masks_.data() + index * words_, words_};
  }

 private:
  enum class Likeness : uint8_t { other, rival, as_good };
  [[nodiscard]] Likeness compare(size_t index, const KeyState& state,
                                 std::span<const uint64_t> mask,
                                 std::span<const uint64_t> optional) const noexcept;
  void append(const KeyState& state, std::span<const uint64_t> mask);
  void index_all(std::span<const uint64_t> optional);
  [[nodiscard]] size_t bucket_of(const KeyState& state, std::span<const uint64_t> mask,
                                 std::span<const uint64_t> optional) const noexcept;

  size_t words_ = 1;
  size_t width_ = SIZE_MAX;
  bool narrowed_ = false;
  std::vector<KeyState> states_;
  std::vector<uint64_t> masks_;
  std::vector<uint32_t> buckets_;  ///< once there are many: the first of a chain, by hash
  std::vector<uint32_t> chain_;
};

class Search {
 public:
  enum class End : uint8_t { ordered, stuck, undecided };

  /// Where no order goes on.
  struct Place {
    uint32_t step = kNone;
    Event::What what = Event::What::end;
    std::vector<KeyState> before;  ///< some of what the key could hold then
  };

  End run(const Timeline& timeline, uint64_t states_max);

  [[nodiscard]] const Place& place() const noexcept { return place_; }
  [[nodiscard]] uint64_t states() const noexcept { return states_; }

 private:
  End run_once(uint64_t states_max);
  void begin(uint32_t step);
  void begin_optional(uint32_t step, uint32_t slot);
  bool advance(const Event& goal, uint64_t states_max);
  void finish(uint32_t step);
  void discard_bound_by(uint32_t wipe);
  void expand(const Event& goal, size_t index);
  void try_step(const Event& goal, uint32_t step, const KeyState& state);
  bool wipe_lives(uint32_t wipe);
  void emit(const Event& goal, KeyState state);
  void settle(const KeyState& state);
  [[nodiscard]] uint64_t lowest_version(std::span<const uint64_t> mask) const noexcept;
  [[nodiscard]] bool has(std::span<const uint64_t> mask, uint32_t step) const noexcept;
  [[nodiscard]] bool reached(const Event& goal, const KeyState& state,
                             std::span<const uint64_t> mask) const noexcept;
  [[nodiscard]] bool may_follow(std::span<const uint64_t> mask, const Step& step) const noexcept {
    return step.after == kNone || has(mask, step.after);
  }
  [[nodiscard]] const Step& step_at(uint32_t step) const noexcept {
    return timeline_->steps()[step];
  }
  void set(std::span<uint64_t> mask, uint32_t step) const noexcept;
  void unset(std::span<uint64_t> mask, uint32_t step) const noexcept;

  const Timeline* timeline_ = nullptr;
  ConfigSet now_;
  ConfigSet next_;
  ConfigSet reached_;               ///< on the way to a goal
  std::vector<uint64_t> from_;      ///< mask that is expanded
  std::vector<uint64_t> mask_;      ///< mask that is made
  std::vector<uint64_t> optional_;  ///< slots of optional steps
  std::vector<uint32_t> slots_;     ///< by step: its slot, or one of the two below
  std::vector<uint32_t> free_slots_;
  std::vector<uint32_t> in_flight_;            ///< steps that must be in the order, as they began
  std::vector<std::vector<uint32_t>> groups_;  ///< optional steps that have begun
  std::vector<uint32_t> active_groups_;
  Place place_;
  size_t width_ = SIZE_MAX;
  bool narrowed_ = false;  ///< Configs were left out: to be stuck proves nothing
  uint64_t now_ns_ = 0;
  uint64_t states_ = 0;
};

}  // namespace copykv::sim
