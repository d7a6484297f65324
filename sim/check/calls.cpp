// SPDX-License-Identifier: Apache-2.0
#include "sim/check/calls.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sim/check/words.hpp"

namespace copykv::sim {
namespace {

/// One write of a shard, or the death of its owner.
struct Mark {
  uint64_t time_ns;
  bool ends;  ///< at equal times beginnings come first: those are concurrent
  const Operation* operation;
};

[[nodiscard]] bool tells_new_version(const Operation& operation) {
  return operation.status == Status::ok && operation.ended() && operation.version != kNotTold &&
         (operation.kind == Kind::put || operation.kind == Kind::add);
}

[[nodiscard]] std::string check_shard(std::vector<Mark>& marks) {
  std::sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) {
    return std::tie(a.time_ns, a.ends) < std::tie(b.time_ns, b.ends);
  });
  const uint64_t origin_ns = marks.front().time_ns;
  const Operation* highest = nullptr;                            // of those that have ended
  std::unordered_map<const Operation*, const Operation*> above;  // what a write must be above
  std::unordered_map<uint64_t, const Operation*> given;
  for (const Mark& mark : marks) {
    const Operation& write = *mark.operation;
    if (write.kind == Kind::wipe) {
      highest = nullptr;  // and of what is in flight nobody knows in which life it was done
      above.clear();
      given.clear();
      continue;
    }
    if (!mark.ends) {
      above[&write] = highest;
      continue;
    }
    const auto known = above.find(&write);
    if (known == above.end()) continue;
    const Operation* before = known->second;
    above.erase(known);
    if (before != nullptr && before->version >= write.version) {
      return fmt::format("versions of a shard do not grow:\n  key {}: {}\n  key {}: {}\n",
                         before->key, operation_words(*before, origin_ns), write.key,
                         operation_words(write, origin_ns));
    }
    if (const auto [twin, is_new] = given.try_emplace(write.version, &write); !is_new) {
      return fmt::format("a version is given twice:\n  key {}: {}\n  key {}: {}\n",
                         twin->second->key, operation_words(*twin->second, origin_ns), write.key,
                         operation_words(write, origin_ns));
    }
    if (highest == nullptr || write.version > highest->version) highest = &write;
  }
  return {};
}

}  // namespace

std::string check_calls_end(const History& history) {
  std::unordered_set<uint32_t> dead;
  uint64_t origin_ns = kOpen;
  for (const Operation& operation : history.operations()) {
    if (operation.kind == Kind::death) dead.insert(operation.process);
    origin_ns = std::min(origin_ns, operation.begin_ns);
  }
  for (const Operation& operation : history.operations()) {
    if (operation.ended() || operation.kind == Kind::wipe) continue;
    if (dead.count(operation.process) > 0) continue;
    return fmt::format("key {}: a call never ends: {}\n", operation.key,
                       operation_words(operation, origin_ns));
  }
  return {};
}

std::string check_versions(const History& history,
                           const std::function<uint64_t(uint64_t key)>& shard_of) {
  std::unordered_map<uint64_t, std::vector<Mark>> shards;
  for (const Operation& operation : history.operations()) {
    const bool is_wipe = operation.kind == Kind::wipe;
    if (!is_wipe && !tells_new_version(operation)) continue;
    std::vector<Mark>& marks = shards[shard_of(operation.key)];
    marks.push_back({operation.begin_ns, false, &operation});
    marks.push_back({operation.end_ns, true, &operation});
  }
  for (auto& [shard, marks] : shards) {
    if (std::string wrong = check_shard(marks); !wrong.empty()) return wrong;
  }
  return {};
}

}  // namespace copykv::sim
