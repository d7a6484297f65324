// SPDX-License-Identifier: Apache-2.0
#include "sim/check/linearizability.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <tuple>

#include "sim/check/search.hpp"
#include "sim/check/story.hpp"
#include "sim/check/timeline.hpp"

namespace copykv::sim {
namespace {

/// By key, then by beginning, then as submitted.
[[nodiscard]] std::vector<const Operation*> sorted_by_key(const History& history) {
  struct Place {
    uint64_t key;
    uint64_t begin_ns;
    const Operation* operation;
  };
  std::vector<Place> places;
  places.reserve(history.size());
  for (const Operation& operation : history.operations()) {
    if (operation.kind == Kind::death) continue;
    places.push_back({operation.key, operation.begin_ns, &operation});
  }
  // Operations of one History stand in one vector: addresses say what was submitted first.
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::tie(a.key, a.begin_ns, a.operation) < std::tie(b.key, b.begin_ns, b.operation);
  });
  std::vector<const Operation*> sorted;
  sorted.reserve(places.size());
  for (const Place& place : places) sorted.push_back(place.operation);
  return sorted;
}

class Checker {
 public:
  Checker(const History& history, const CheckOptions& options)
      : options_(options), sorted_(sorted_by_key(history)), origin_ns_(kOpen) {
    for (const Operation* operation : sorted_) {
      origin_ns_ = std::min(origin_ns_, operation->begin_ns);
    }
  }

  Verdict run() {
    for (size_t first = 0; first < sorted_.size();) {
      size_t last = first;
      while (last < sorted_.size() && sorted_[last]->key == sorted_[first]->key) ++last;
      check_key({sorted_.data() + first, last - first});
      first = last;
    }
    return std::move(verdict_);
  }

 private:
  void check_key(std::span<const Operation* const> operations) {
    ++verdict_.keys;
    for (const Operation* operation : operations) {
      if (can_end_so(*operation)) continue;
      return violated(operation->key, operation->end_ns, tell_of_end(*operation, origin_ns_));
    }
    const uint64_t key = operations[0]->key;
    if (const std::string wrong = timeline_.build(operations, options_.client_order);
        !wrong.empty()) {
      return undecided(key, wrong);
    }
    verdict_.operations += timeline_.steps().size();
    const Search::End end = search_.run(timeline_, options_.states_max);
    verdict_.states += search_.states();
    if (end == Search::End::ordered) return;
    if (end == Search::End::undecided) {
      return undecided(key, fmt::format("undecided after {} states; {} operations, {} groups of "
                                        "open ones, {} at once",
                                        search_.states(), operations.size(), timeline_.groups(),
                                        timeline_.slots_max()));
    }
    const Search::Place& place = search_.place();
    violated(key, timeline_.steps()[place.step].operation.end_ns,
             tell(key, operations, timeline_, place, origin_ns_));
  }

  /// The story is of the earliest; a violation goes before what is undecided.
  void violated(uint64_t key, uint64_t at_ns, std::string story) {
    ++verdict_.keys_violated;
    if (verdict_.outcome == Verdict::Outcome::violation && at_ns >= earliest_ns_) return;
    earliest_ns_ = at_ns;
    verdict_.outcome = Verdict::Outcome::violation;
    verdict_.key = key;
    verdict_.story = std::move(story);
  }

  void undecided(uint64_t key, const std::string& why) {
    ++verdict_.keys_undecided;
    if (verdict_.outcome != Verdict::Outcome::ok) return;
    verdict_.outcome = Verdict::Outcome::undecided;
    verdict_.key = key;
    verdict_.story = fmt::format("key {}: {}\n", key, why);
  }

  const CheckOptions& options_;
  const std::vector<const Operation*> sorted_;
  uint64_t origin_ns_;
  uint64_t earliest_ns_ = kOpen;
  Timeline timeline_;
  Search search_;
  Verdict verdict_;
};

}  // namespace

Verdict check_linearizability(const History& history, const CheckOptions& options) {
  return Checker(history, options).run();
}

}  // namespace copykv::sim
