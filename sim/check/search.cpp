// SPDX-License-Identifier: Apache-2.0
#include "sim/check/search.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace copykv::sim {
namespace {

using What = Event::What;

constexpr uint32_t kNotBegun = UINT32_MAX;
constexpr uint32_t kEnded = UINT32_MAX - 1;
constexpr size_t kStatesTold = 3;
constexpr uint64_t kStatesPerStep = 100;
constexpr size_t kWidths[] = {1, 8, 64, SIZE_MAX};

[[nodiscard]] constexpr uint64_t bit_of(uint32_t slot) noexcept {
  return uint64_t{1} << (slot % 64);
}

}  // namespace

Search::End Search::run(const Timeline& timeline, uint64_t states_max) {
  timeline_ = &timeline;
  states_ = 0;
  states_max += kStatesPerStep * timeline.steps().size();
  for (const size_t width : kWidths) {
    width_ = width;
    const End end = run_once(states_max);
    if (end != End::stuck || !narrowed_) return end;
  }
  return End::stuck;
}

Search::End Search::run_once(uint64_t states_max) {
  const Timeline& timeline = *timeline_;
  narrowed_ = false;
  const size_t words = std::max<size_t>(1, (timeline.slots_max() + 63) / 64);
  mask_.assign(words, 0);
  optional_.assign(words, 0);
  slots_.assign(timeline.steps().size(), kNotBegun);
  free_slots_.clear();
  for (uint32_t slot = timeline.slots_max(); slot-- > 0;) free_slots_.push_back(slot);
  in_flight_.clear();
  active_groups_.clear();
  groups_.resize(std::max<size_t>(groups_.size(), timeline.groups()));
  for (auto& group : groups_) group.clear();
  now_.clear(words, width_);
  now_.add({}, mask_, optional_);
  for (const Event& event : timeline.events()) {
    now_ns_ = event.time_ns;
    place_ = {event.step, event.what, {}};
    if (event.what == What::begin) {
      begin(event.step);
    } else if (!advance(event, states_max)) {
      return End::undecided;
    }
    if (now_.size() == 0) return End::stuck;
  }
  return End::ordered;
}

bool Search::has(std::span<const uint64_t> mask, uint32_t step) const noexcept {
  const uint32_t slot = slots_[step];
  if (slot >= kEnded) return slot == kEnded;
  return (mask[slot / 64] & bit_of(slot)) != 0;
}

void Search::set(std::span<uint64_t> mask, uint32_t step) const noexcept {
  mask[slots_[step] / 64] |= bit_of(slots_[step]);
}

void Search::unset(std::span<uint64_t> mask, uint32_t step) const noexcept {
  mask[slots_[step] / 64] &= ~bit_of(slots_[step]);
}

void Search::begin(uint32_t index) {
  const Step& step = step_at(index);
  COPYKV_ASSERT(!free_slots_.empty(), "step={}", index);
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[index] = slot;
  if (step.optional()) return begin_optional(index, slot);
  in_flight_.push_back(index);
  std::vector<bool> keep;
  for (size_t at = 0; at < now_.size(); ++at) {
    const std::span<uint64_t> mask = now_.mask(at);
    if (step.not_beyond != kNone) keep.push_back(!has(mask, step.not_beyond));
    if (!step.only_looks || !may_follow(mask, step)) continue;
    KeyState after = now_.state(at);
    if (apply(after, step.operation, index + 1) && after == now_.state(at)) set(mask, index);
  }
  if (std::find(keep.begin(), keep.end(), false) == keep.end()) return;
  for (size_t at = 0; at < keep.size() && place_.before.size() < kStatesTold; ++at) {
    place_.before.push_back(now_.state(at));
  }
  now_.keep_if(keep);
}

/// Those that must stand before the next wipe are used first.
void Search::begin_optional(uint32_t index, uint32_t slot) {
  const Step& step = step_at(index);
  optional_[slot / 64] |= bit_of(slot);
  const auto until_ns = [&](uint32_t other) {
    const uint32_t wipe = step_at(other).not_beyond;
    return wipe == kNone ? kOpen : step_at(wipe).operation.end_ns;
  };
  std::vector<uint32_t>& group = groups_[step.group];
  if (group.empty()) active_groups_.push_back(step.group);
  const auto place =
      std::upper_bound(group.begin(), group.end(), index,
                       [&](uint32_t a, uint32_t b) { return until_ns(a) < until_ns(b); });
  group.insert(place, index);
  if (step.not_beyond == kNone) return;
  for (size_t at = 0; at < now_.size(); ++at) {
    if (has(now_.mask(at), step.not_beyond)) set(now_.mask(at), index);
  }
}

bool Search::reached(const Event& goal, const KeyState& state,
                     std::span<const uint64_t> mask) const noexcept {
  return goal.what == What::end ? has(mask, goal.step) : state.expiry != goal.step + 1;
}

/// From the Configs of now to those that have reached the goal.
bool Search::advance(const Event& goal, uint64_t states_max) {
  const bool ends = goal.what == What::end;
  const size_t words = mask_.size();
  next_.clear(words, width_);
  reached_.clear(words, width_);
  for (size_t at = 0; at < now_.size(); ++at) {
    const std::span<uint64_t> mask = now_.mask(at);
    if (!reached(goal, now_.state(at), mask)) {
      reached_.add(now_.state(at), mask, optional_);
      continue;
    }
    if (ends) unset(mask, goal.step);
    next_.add(now_.state(at), mask, optional_);
  }
  for (size_t at = 0; at < reached_.size(); ++at) {
    if (++states_ > states_max) return false;
    expand(goal, at);
  }
  narrowed_ = narrowed_ || reached_.narrowed() || next_.narrowed();
  if (next_.size() == 0) {
    for (size_t at = 0; at < now_.size() && at < kStatesTold; ++at) {
      place_.before.push_back(now_.state(at));
    }
  }
  std::swap(now_, next_);
  if (ends) finish(goal.step);
  return true;
}

void Search::finish(uint32_t index) {
  if (step_at(index).operation.kind == Kind::wipe) discard_bound_by(index);
  in_flight_.erase(std::find(in_flight_.begin(), in_flight_.end(), index));
  free_slots_.push_back(slots_[index]);
  slots_[index] = kEnded;
}

/// In every Config the wipe stands, and with it these are used up.
void Search::discard_bound_by(uint32_t wipe) {
  std::erase_if(active_groups_, [&](uint32_t group) {
    std::erase_if(groups_[group], [&](uint32_t step) {
      if (step_at(step).not_beyond != wipe) return false;
      const uint32_t slot = slots_[step];
      for (size_t at = 0; at < now_.size(); ++at) unset(now_.mask(at), step);
      optional_[slot / 64] &= ~bit_of(slot);
      free_slots_.push_back(slot);
      slots_[step] = kEnded;
      return true;
    });
    return groups_[group].empty();
  });
}

uint64_t Search::lowest_version(std::span<const uint64_t> mask) const noexcept {
  uint64_t lowest = UINT64_MAX;
  for (const uint32_t index : in_flight_) {
    const Step& step = step_at(index);
    if (step.orders_versions && step.writes_version < lowest && !has(mask, index)) {
      lowest = step.writes_version;
    }
  }
  return lowest;
}

/// Every step that can come next.
void Search::expand(const Event& goal, size_t at) {
  const KeyState state = reached_.state(at);
  from_.assign(reached_.mask(at).begin(), reached_.mask(at).end());
  const uint64_t lowest = lowest_version(from_);
  bool optional_may_help = goal.what == What::expired;
  for (const uint32_t index : in_flight_) {
    const Step& step = step_at(index);
    if (has(from_, index)) continue;
    optional_may_help |= step.may_need_optional;
    if (!may_follow(from_, step) || step.writes_version > lowest) continue;
    try_step(goal, index, state);
  }
  for (const uint32_t group : active_groups_) {
    if (!optional_may_help) break;
    const auto& steps = groups_[group];
    const auto unused = std::find_if(steps.begin(), steps.end(),
                                     [&](uint32_t index) { return !has(from_, index); });
    if (unused == steps.end() || !may_follow(from_, step_at(*unused))) continue;
    try_step(goal, *unused, state);
  }
  if (state.expiry != 0 && step_at(state.expiry - 1).operation.expires_from_ns <= now_ns_) {
    KeyState after = state;
    expire(after);
    mask_ = from_;
    emit(goal, after);
  }
}

void Search::try_step(const Event& goal, uint32_t index, const KeyState& state) {
  const Step& step = step_at(index);
  KeyState after = state;
  if (!apply(after, step.operation, index + 1)) return;
  if (step.optional() && after == state) return;
  mask_ = from_;
  if (step.operation.kind == Kind::wipe && !wipe_lives(index)) return;
  set(mask_, index);
  emit(goal, after);
}

/// What must stand before the wipe stands, or never will. False: something should and does not.
bool Search::wipe_lives(uint32_t wipe) {
  for (const uint32_t index : in_flight_) {
    if (step_at(index).not_beyond == wipe && !has(mask_, index)) return false;
  }
  for (const uint32_t group : active_groups_) {
    for (const uint32_t index : groups_[group]) {
      if (step_at(index).not_beyond == wipe) set(mask_, index);
    }
  }
  return true;
}

/// Steps in flight that only look, and see this state.
void Search::settle(const KeyState& state) {
  for (const uint32_t index : in_flight_) {
    const Step& step = step_at(index);
    if (!step.only_looks || has(mask_, index) || !may_follow(mask_, step)) continue;
    KeyState after = state;
    if (apply(after, step.operation, index + 1) && after == state) set(mask_, index);
  }
}

void Search::emit(const Event& goal, KeyState state) {
  settle(state);
  if (!reached(goal, state, mask_)) {
    reached_.add(state, mask_, optional_);
    return;
  }
  if (goal.what == What::end) unset(mask_, goal.step);
  next_.add(state, mask_, optional_);
}

}  // namespace copykv::sim
