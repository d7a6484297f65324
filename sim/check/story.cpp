// SPDX-License-Identifier: Apache-2.0
#include "sim/check/story.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "sim/check/words.hpp"

namespace copykv::sim {
namespace {

constexpr size_t kAroundMax = 10;

/// The simple reasons: each looks for two or three operations that contradict each other.
class Reasons {
 public:
  Reasons(std::span<const Operation* const> operations, const Timeline& timeline,
          uint64_t origin_ns)
      : operations_(operations), timeline_(timeline), origin_ns_(origin_ns) {}

  [[nodiscard]] std::string of(const Step& step) const {
    const Operation& operation = step.operation;
    const bool ok = operation.status == Status::ok;
    if (operation.kind == Kind::get && ok && !operation.number) return of_record(operation);
    if (operation.status == Status::not_found) return of_absence(operation);
    if (step.writes_version != 0) return of_version(operation);
    return {};
  }

 private:
  [[nodiscard]] std::string words(const Operation& operation) const {
    return operation_words(operation, origin_ns_);
  }

  [[nodiscard]] std::string of_record(const Operation& get) const {
    const uint32_t writer = timeline_.step_of_value(get.observed);
    if (writer == kNone) return of_nothing_written(get);
    const Step& written = timeline_.steps()[writer];
    const Operation& put = written.operation;
    if (put.begin_ns > get.end_ns) return "it was written only later: " + words(put);
    if (get.version != kNotTold && get.version != put.version) {
      return "it was written with another version: " + words(put);
    }
    for (const Step& step : timeline_.steps()) {
      const Operation& other = step.operation;
      if (!changes(step) || other.begin_ns <= put.end_ns || other.end_ns >= get.begin_ns) continue;
      return fmt::format("it was written by\n    {}\n  and gone after\n    {}", words(put),
                         words(other));
    }
    if (written.not_beyond != kNone) {
      return "it was told indeterminate before a restart of the owner: " + words(put);
    }
    return {};
  }

  [[nodiscard]] std::string of_nothing_written(const Operation& get) const {
    for (const Operation* operation : operations_) {
      if (operation->kind == Kind::put && !operation->number &&
          operation->argument == get.observed) {
        return "its write was refused: " + words(*operation);
      }
    }
    return "nobody wrote it";
  }

  /// The last write that surely stood, if nothing could take it away.
  [[nodiscard]] std::string of_absence(const Operation& missed) const {
    const Operation* stood = nullptr;
    for (const Step& step : timeline_.steps()) {
      const Operation& operation = step.operation;
      const bool writes = operation.kind == Kind::put || operation.kind == Kind::add;
      if (writes && changes(step) && operation.end_ns < missed.begin_ns &&
          (stood == nullptr || operation.begin_ns > stood->begin_ns)) {
        stood = &operation;
      }
    }
    if (stood == nullptr) return {};
    for (const Step& step : timeline_.steps()) {
      const Operation& operation = step.operation;
      const bool removes = operation.kind == Kind::wipe ||
                           (operation.kind == Kind::del && operation.status != Status::not_found) ||
                           operation.expires();
      const bool between =
          operation.begin_ns <= missed.end_ns &&
          (operation.end_ns >= stood->begin_ns || (operation.expires() && removes));
      if (removes && between) return {};
    }
    return "nothing could take away what had been written by\n    " + words(*stood);
  }

  [[nodiscard]] std::string of_version(const Operation& write) const {
    for (const Step& step : timeline_.steps()) {
      const Operation& before = step.operation;
      if (step.writes_version < write.version || before.end_ns >= write.begin_ns) continue;
      const bool wiped =
          std::any_of(timeline_.steps().begin(), timeline_.steps().end(), [&](const Step& other) {
            return other.operation.kind == Kind::wipe && other.operation.begin_ns <= write.end_ns &&
                   other.operation.end_ns >= before.begin_ns;
          });
      if (wiped) continue;
      return "its version is not above that of an earlier write:\n    " + words(before);
    }
    return {};
  }

  /// It stands in the order and leaves another item, or none.
  [[nodiscard]] static bool changes(const Step& step) {
    const Operation& operation = step.operation;
    if (step.optional()) return false;
    if (operation.kind == Kind::wipe) return true;
    return operation.status == Status::ok &&
           (operation.kind == Kind::put || operation.kind == Kind::add ||
            operation.kind == Kind::del);
  }

  std::span<const Operation* const> operations_;
  const Timeline& timeline_;
  uint64_t origin_ns_;
};

/// Not of the end of the step but of the end of the item's life.
[[nodiscard]] std::string headline(const Step& step, const Search::Place& place,
                                   uint64_t origin_ns) {
  const std::string words = operation_words(step.operation, origin_ns);
  if (place.what == Event::What::expired) {
    return fmt::format("what it wrote must have vanished, but was seen: {}", words);
  }
  return fmt::format("no order of the operations explains {}", words);
}

/// The operations that were in flight at the place or ended shortly before, those before it first.
[[nodiscard]] std::string around(std::span<const Operation* const> operations, const Step& step,
                                 uint64_t origin_ns) {
  const uint64_t end_ns = step.operation.end_ns;
  std::vector<const Operation*> near;
  for (auto at = operations.rbegin(); at != operations.rend() && near.size() < kAroundMax; ++at) {
    if ((*at)->begin_ns <= end_ns && (*at)->kind != Kind::death) near.push_back(*at);
  }
  std::string text;
  for (auto at = near.rbegin(); at != near.rend(); ++at) {
    text += "    " + operation_words(**at, origin_ns) + "\n";
  }
  return text;
}

}  // namespace

std::string tell(uint64_t key, std::span<const Operation* const> operations,
                 const Timeline& timeline, const Search::Place& place, uint64_t origin_ns) {
  const Step& step = timeline.steps()[place.step];
  std::string text = fmt::format("key {}: {}\n", key, headline(step, place, origin_ns));
  const std::string reason = Reasons(operations, timeline, origin_ns).of(step);
  if (!reason.empty()) text += "  " + reason + "\n";
  text += "  the key could hold, before what was in flight:\n";
  for (const KeyState& state : place.before) text += "    " + describe(state) + "\n";
  text += "  the last operations until then:\n" + around(operations, step, origin_ns);
  return text;
}

std::string tell_of_end(const Operation& operation, uint64_t origin_ns) {
  return fmt::format("key {}: no {} ends so: {}\n", operation.key, to_string(operation.kind),
                     operation_words(operation, origin_ns));
}

}  // namespace copykv::sim
