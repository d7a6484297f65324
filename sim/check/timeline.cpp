// SPDX-License-Identifier: Apache-2.0
#include "sim/check/timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>

#include "sim/check/specification.hpp"
#include "sim/check/words.hpp"

namespace copykv::sim {
namespace {

[[nodiscard]] bool writes_record(const Operation& operation) noexcept {
  return operation.kind == Kind::put && !operation.number &&
         (operation.open() || operation.status == Status::ok);
}

[[nodiscard]] bool reads_record(const Operation& operation) noexcept {
  return operation.kind == Kind::get && operation.status == Status::ok && !operation.number;
}

/// It says what stands and does nothing, in whatever state it is done. Not touch: what changes
/// nothing now may end a life later.
[[nodiscard]] bool only_looks(const Operation& operation) noexcept {
  if (operation.open()) return false;
  return operation.status != Status::ok || operation.kind == Kind::get ||
         operation.kind == Kind::exists;
}

/// Alike are those that do the same to any state. What gives a life is like nothing else.
[[nodiscard]] bool are_alike(const Operation& a, const Operation& b) noexcept {
  if (a.kind != b.kind) return false;
  if (a.kind == Kind::del || a.kind == Kind::touch) return true;
  if (a.argument != b.argument || a.kind == Kind::add) return a.argument == b.argument;
  const bool same_version = a.when != When::if_version || a.if_version == b.if_version;
  return a.number == b.number && a.when == b.when && same_version;
}

}  // namespace

std::string Timeline::build(std::span<const Operation* const> operations, bool client_order) {
  steps_.clear();
  wipes_.clear();
  for (const Operation* operation : operations) {
    if (says_nothing(*operation)) continue;
    if (operation->kind == Kind::wipe) wipes_.push_back(static_cast<uint32_t>(steps_.size()));
    steps_.push_back({.operation = *operation, .only_looks = only_looks(*operation)});
    if (operation->open()) steps_.back().operation.version = kNotTold;
  }
  if (std::string wrong = name_values(); !wrong.empty()) return wrong;
  if (std::string wrong = order_wipes(); !wrong.empty()) return wrong;
  learn_from_reads();
  if (client_order) keep_client_order();
  bound_by_wipes();
  find_groups();
  order_versions();
  find_needs();
  list_events();
  return {};
}

std::string Timeline::name_values() {
  writers_.clear();
  for (uint32_t step = 0; step < steps_.size(); ++step) {
    const Operation& operation = steps_[step].operation;
    if (writes_record(operation)) writers_.emplace_back(operation.argument, step);
  }
  std::sort(writers_.begin(), writers_.end());
  if (!writers_.empty() && writers_.back().first == kUnread) return "kUnread names no value";
  for (size_t index = 1; index < writers_.size(); ++index) {
    if (writers_[index].first != writers_[index - 1].first) continue;
    return value_words(writers_[index].first) + " is written by two operations: values must differ";
  }
  return {};
}

uint32_t Timeline::step_of_value(uint64_t value) const noexcept {
  const auto at = std::lower_bound(writers_.begin(), writers_.end(), std::pair(value, uint32_t{0}));
  return at != writers_.end() && at->first == value ? at->second : kNone;
}

void Timeline::learn_from_reads() {
  for (const Step& read : steps_) {
    if (!reads_record(read.operation)) continue;
    const uint32_t writer = step_of_value(read.operation.observed);
    if (writer == kNone) continue;  // the search will not find it either
    Operation& put = steps_[writer].operation;
    if (put.version == kNotTold) put.version = read.operation.version;
  }
}

void Timeline::keep_client_order() {
  std::unordered_map<uint32_t, uint32_t> last;  // answered step of each client
  for (uint32_t index = 0; index < steps_.size(); ++index) {
    Step& step = steps_[index];
    if (step.operation.open() || step.operation.kind == Kind::wipe) continue;
    const auto [at, is_first] = last.try_emplace(step.operation.process, index);
    if (is_first) continue;
    // What ended before is in the order anyway.
    if (steps_[at->second].operation.end_ns >= step.operation.begin_ns) step.after = at->second;
    at->second = index;
  }
}

/// One death after the other: they have the order of their beginnings and of their ends.
std::string Timeline::order_wipes() {
  for (size_t at = 1; at < wipes_.size(); ++at) {
    Step& step = steps_[wipes_[at]];
    const Operation& before = steps_[wipes_[at - 1]].operation;
    if (step.operation.begin_ns < before.end_ns) return "two deaths of its owner overlap";
    step.after = wipes_[at - 1];
  }
  return {};
}

void Timeline::bound_by_wipes() {
  const auto ends = [&](uint32_t step) { return steps_[step].operation.end_ns; };
  for (Step& step : steps_) {
    const Operation& operation = step.operation;
    if (!operation.open() || !operation.ended()) continue;
    const auto wipe = std::partition_point(
        wipes_.begin(), wipes_.end(), [&](uint32_t at) { return ends(at) < operation.end_ns; });
    if (wipe != wipes_.end() && ends(*wipe) != kOpen) step.not_beyond = *wipe;
  }
}

/// Whether a wipe may stand between two operations of this span of time.
bool Timeline::wiped_between(uint64_t from_ns, uint64_t until_ns) const noexcept {
  const auto wipe = std::partition_point(wipes_.begin(), wipes_.end(), [&](uint32_t at) {
    return steps_[at].operation.end_ns < from_ns;
  });
  return wipe != wipes_.end() && steps_[*wipe].operation.begin_ns <= until_ns;
}

void Timeline::order_versions() {
  versions_.clear();
  for (uint32_t index = 0; index < steps_.size(); ++index) {
    Step& step = steps_[index];
    const Operation& operation = step.operation;
    const bool writes = operation.kind == Kind::put || operation.kind == Kind::add;
    const bool done = operation.status == Status::ok || operation.open();
    if (!writes || !done || operation.version == kNotTold) continue;
    step.writes_version = operation.version;
    step.orders_versions = !wiped_between(operation.begin_ns, operation.end_ns);
    versions_.emplace_back(operation.version, index);
  }
  std::sort(versions_.begin(), versions_.end());
}

/// What overwrites whatever there is, or sees what one known write wrote, needs no other.
void Timeline::find_needs() {
  // With a wipe that may be: versions are free again after it.
  const bool may_wipe = !wipes_.empty() && steps_[wipes_.back()].operation.end_ns == kOpen;
  for (Step& step : steps_) {
    const Operation& operation = step.operation;
    if (operation.kind == Kind::wipe || reads_record(operation) ||
        (operation.kind == Kind::put && operation.when == When::always && !may_wipe)) {
      step.may_need_optional = false;
      continue;
    }
    const bool sees_version = operation.kind == Kind::exists ||
                              operation.status == Status::condition_failed ||
                              operation.status == Status::buffer_too_small;
    if (!sees_version || operation.status == Status::not_found) continue;
    const auto at = std::lower_bound(versions_.begin(), versions_.end(),
                                     std::pair(operation.version, uint32_t{0}));
    if (at == versions_.end() || at->first != operation.version) continue;
    const Operation& write = steps_[at->second].operation;
    step.may_need_optional = wiped_between(std::min(write.begin_ns, operation.begin_ns),
                                           std::max(write.end_ns, operation.end_ns));
  }
}

/// Open steps are optional, but those whose value was read: from now on they end with that.
void Timeline::find_groups() {
  groups_.clear();
  group_count_ = 0;
  std::vector<uint64_t> read_by(steps_.size(), kOpen);
  for (const Step& read : steps_) {
    if (!reads_record(read.operation)) continue;
    const uint32_t writer = step_of_value(read.operation.observed);
    if (writer != kNone) read_by[writer] = std::min(read_by[writer], read.operation.end_ns);
  }
  for (uint32_t index = 0; index < steps_.size(); ++index) {
    Step& step = steps_[index];
    Operation& operation = step.operation;
    if (!operation.open()) continue;
    operation.expires_until_ns = kOpen;  // nobody knows when it was done
    operation.status = Status::indeterminate;
    if (read_by[index] != kOpen) {
      operation.end_ns = read_by[index];
      // Read before it was asked for: its end must not stand before its beginning.
      operation.end_ns = std::max(operation.end_ns, operation.begin_ns);
      continue;
    }
    operation.end_ns = kOpen;
    if (writes_record(operation)) operation.argument = kUnread;
    step.group = group_of(operation);
  }
}

uint32_t Timeline::group_of(const Operation& open) {
  if (open.expires() || open.kind == Kind::wipe) return group_count_++;
  const auto found = std::find_if(groups_.begin(), groups_.end(),
                                  [&](const auto& entry) { return are_alike(entry.first, open); });
  if (found != groups_.end()) return found->second;
  groups_.emplace_back(open, group_count_);
  return group_count_++;
}

void Timeline::list_events() {
  using What = Event::What;
  events_.clear();
  for (uint32_t index = 0; index < steps_.size(); ++index) {
    const Operation& operation = steps_[index].operation;
    events_.push_back({operation.begin_ns, What::begin, index});
    if (!steps_[index].optional()) events_.push_back({operation.end_ns, What::end, index});
    if (operation.expires() && operation.expires_until_ns != kOpen) {
      // Not before the end of who gives the life: until then nobody need have given it.
      const uint64_t until_ns = std::max(operation.expires_until_ns, operation.end_ns);
      events_.push_back({until_ns, What::expired, index});
    }
  }
  std::sort(events_.begin(), events_.end(), [](const Event& a, const Event& b) {
    return std::tie(a.time_ns, a.what, a.step) < std::tie(b.time_ns, b.what, b.step);
  });
  uint32_t in_flight = 0;
  slots_max_ = 0;
  for (const Event& event : events_) {
    if (event.what == What::begin) slots_max_ = std::max(slots_max_, ++in_flight);
    if (event.what == What::end) --in_flight;
  }
}

}  // namespace copykv::sim
