// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/sim/random_history.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

namespace copykv::sim {
namespace {

/// A store as plain as can be, written apart from the specification that it is to test.
class PlainStore {
 public:
  void wipe() { items_.clear(); }

  /// Does it at this moment and fills in the answer.
  void execute(Operation& operation, uint64_t now_ns, uint64_t ttl_ns) {
    const uint64_t key = operation.key;
    if (const auto found = items_.find(key);
        found != items_.end() && now_ns >= found->second.expires_ns) {
      items_.erase(found);
    }
    const auto found = items_.find(key);
    Item* item = found == items_.end() ? nullptr : &found->second;
    const uint64_t expires_ns = ttl_ns == 0 ? kOpen : now_ns + ttl_ns;
    operation.status = Status::ok;
    switch (operation.kind) {
      case Kind::get:
      case Kind::exists:
        if (item == nullptr) return missing(operation);
        operation.observed = item->value;
        operation.number = item->number && operation.kind == Kind::get;
        operation.version = item->version;
        return;
      case Kind::put:
        return put(operation, item, expires_ns);
      case Kind::del:
        if (item == nullptr) return missing(operation);
        items_.erase(key);
        return;
      case Kind::add:
        return add(operation, item);
      case Kind::touch:
        if (item == nullptr) return missing(operation);
        item->expires_ns = expires_ns;
        operation.version = item->version;
        return;
      default:
        return;
    }
  }

 private:
  struct Item {
    uint64_t value;
    bool number;
    uint64_t version;
    uint64_t expires_ns;
  };

  static void missing(Operation& operation) { operation.status = Status::not_found; }

  void put(Operation& put, const Item* item, uint64_t expires_ns) {
    const bool holds =
        put.when == When::always || (put.when == When::if_absent && item == nullptr) ||
        (put.when == When::if_present && item != nullptr) ||
        (put.when == When::if_version && item != nullptr && item->version == put.if_version);
    if (!holds) {
      put.status = Status::condition_failed;
      put.version = item == nullptr ? 0 : item->version;
      return;
    }
    put.version = ++version_;
    items_[put.key] = {put.argument, put.number, put.version, expires_ns};
  }

  void add(Operation& add, const Item* item) {
    if (item != nullptr && !item->number) {
      add.status = Status::not_a_number;
      add.version = item->version;
      return;
    }
    const uint64_t sum = add.argument + (item == nullptr ? 0 : item->value);
    add.observed = sum;
    add.version = ++version_;
    items_[add.key] = {sum, true, add.version, item == nullptr ? kOpen : item->expires_ns};
  }

  std::map<uint64_t, Item> items_;
  uint64_t version_ = 0;
};

/// When an operation is done, and what becomes of its answer.
struct Plan {
  size_t at;
  uint64_t point_ns;
  uint64_t ttl_ns = 0;
  bool cut_off = false;
};

struct Wipe {
  uint64_t begin_ns, point_ns, end_ns;
};

class Execution {
 public:
  Execution(const ExecutionOptions& options, Random& random) : options_(options), random_(random) {}

  History run() {
    const uint64_t per_process = options_.operations / options_.processes;
    const uint64_t span_ns = per_process * kStepNs;
    for (uint32_t wipe = 0; wipe < options_.wipes; ++wipe) {
      const uint64_t begin_ns = span_ns * (wipe + 1) / (options_.wipes + 1);
      const uint64_t point_ns = begin_ns + random_.below(kStepNs);
      wipes_.push_back({begin_ns, point_ns, point_ns + random_.below(kStepNs)});
    }
    for (uint32_t process = 1; process <= options_.processes; ++process) {
      uint64_t now_ns = random_.below(kStepNs);
      for (uint64_t count = 0; count < per_process; ++count) now_ns = plan(process, now_ns);
    }
    std::sort(plans_.begin(), plans_.end(),
              [](const Plan& a, const Plan& b) { return a.point_ns < b.point_ns; });
    do_all();
    History history;
    // As processes would: in the order in which they began.
    std::sort(operations_.begin(), operations_.end(),
              [](const Operation& a, const Operation& b) { return a.begin_ns < b.begin_ns; });
    for (const Operation& operation : operations_) history.append(operation);
    for (const Wipe& wipe : wipes_) {
      for (uint64_t key = 0; key < options_.keys; ++key) {
        history.wipe(key, wipe.begin_ns, wipe.end_ns);
      }
    }
    return history;
  }

 private:
  static constexpr uint64_t kStepNs = 1'000;

  /// Returns when the process goes on.
  uint64_t plan(uint32_t process, uint64_t begin_ns) {
    const uint64_t point_ns = begin_ns + 1 + random_.below(kStepNs / 2);
    Operation operation = ask(process, begin_ns);
    operation.end_ns = point_ns + 1 + random_.below(kStepNs / 2);
    Plan plan{.at = operations_.size(), .point_ns = point_ns};
    const bool reads = operation.kind == Kind::get || operation.kind == Kind::exists;
    const bool may_expire = operation.kind == Kind::put || operation.kind == Kind::touch;
    plan.cut_off = !reads && random_.chance(options_.open);
    if (may_expire && random_.chance(options_.lives)) {
      plan.ttl_ns = 1 + random_.below(4 * kStepNs);
      operation.expires_from_ns = operation.begin_ns + plan.ttl_ns;
      operation.expires_until_ns = plan.cut_off ? kOpen : operation.end_ns + plan.ttl_ns;
    }
    if (plan.cut_off) cut_off(operation, plan);
    const uint64_t next_ns = plan.cut_off ? plan.point_ns : operation.end_ns;
    operations_.push_back(operation);
    plans_.push_back(plan);
    return next_ns + 1 + random_.below(kStepNs / 4);
  }

  /// It happens, late; or never. Half of the callers are told of it, the others die.
  void cut_off(Operation& operation, Plan& plan) {
    if (random_.chance(0.3)) plan.point_ns += random_.below(8 * kStepNs);
    if (random_.chance(0.5)) operation.end_ns = kOpen;
    bool lost = random_.chance(0.3);
    for (const Wipe& wipe : wipes_) {
      lost = lost || (operation.ended() && wipe.end_ns >= operation.end_ns &&
                      plan.point_ns > wipe.point_ns);
    }
    if (lost) plan.at = SIZE_MAX;
  }

  Operation ask(uint32_t process, uint64_t begin_ns) {
    Operation operation{
        .key = random_.below(options_.keys), .begin_ns = begin_ns, .process = process};
    if (random_.chance(options_.reads)) {
      operation.kind = random_.chance(0.8) ? Kind::get : Kind::exists;
      return operation;
    }
    operation.kind = Kind::put;
    operation.argument = value_id(process, ++sequence_);
    if (random_.chance(options_.plain)) return operation;
    switch (random_.below(options_.numbers ? 7 : 5)) {
      case 0:
        operation.kind = Kind::del;
        break;
      case 1:
        operation.kind = Kind::touch;
        break;
      case 2:
        operation.when = When::if_absent;
        break;
      case 3:
        operation.when = When::if_present;
        break;
      case 4:
        operation.when = When::if_version;
        operation.if_version = sequence_ - std::min(sequence_, random_.below(8));
        break;
      case 5:
        operation.number = true;
        operation.argument = random_.below(3);
        break;
      default:
        operation.kind = Kind::add;
        operation.argument = 1 + random_.below(3);
    }
    return operation;
  }

  void do_all() {
    PlainStore store;
    size_t wiped = 0;
    for (const Plan& plan : plans_) {
      for (; wiped < wipes_.size() && wipes_[wiped].point_ns < plan.point_ns; ++wiped) store.wipe();
      if (plan.at == SIZE_MAX) continue;
      Operation& operation = operations_[plan.at];
      const Operation asked = operation;
      store.execute(operation, plan.point_ns, plan.ttl_ns);
      if (plan.cut_off) operation = asked;
    }
  }

  const ExecutionOptions& options_;
  Random& random_;
  std::vector<Operation> operations_;
  std::vector<Plan> plans_;
  std::vector<Wipe> wipes_;
  uint64_t sequence_ = 0;
};

[[nodiscard]] uint64_t any_version(Random& random) {
  return random.chance(0.2) ? kNotTold : 1 + random.below(4);
}

}  // namespace

History execute(const ExecutionOptions& options, Random& random) {
  return Execution(options, random).run();
}

History make_up(uint32_t operations, Random& random) {
  constexpr Kind kKinds[] = {Kind::get, Kind::get, Kind::get,    Kind::put,   Kind::put,
                             Kind::put, Kind::del, Kind::exists, Kind::touch, Kind::add};
  History history;
  uint64_t written = 0;
  uint64_t wiped_until_ns = 0;
  for (uint32_t count = 0; count < operations; ++count) {
    Operation operation{.begin_ns = random.below(12), .process = 1 + uint32_t(random.below(3))};
    operation.end_ns = operation.begin_ns + random.below(8);
    if (random.chance(0.06) && operation.begin_ns >= wiped_until_ns) {
      const uint64_t end_ns = random.chance(0.1) ? kOpen : operation.end_ns;
      wiped_until_ns = end_ns;
      history.wipe(0, operation.begin_ns, end_ns);
      continue;
    }
    operation.kind = kKinds[random.below(std::size(kKinds))];
    operation.status = Status::ok;
    operation.version = any_version(random);
    operation.number = random.chance(0.1);
    const bool reads = operation.kind == Kind::get || operation.kind == Kind::exists;
    if (operation.kind == Kind::put) {
      operation.argument = operation.number ? random.below(3) : ++written;
      if (random.chance(0.4)) operation.when = static_cast<When>(random.below(kWhenCount));
      operation.if_version = 1 + random.below(3);
      if (operation.when != When::always && random.chance(0.4)) {
        operation.status = Status::condition_failed;
        if (random.chance(0.4)) operation.version = 0;
      }
    } else if (operation.kind == Kind::get) {
      operation.observed = operation.number ? random.below(4) : 1 + random.below(3);
    } else if (operation.kind == Kind::add) {
      operation.argument = 1 + random.below(2);
      operation.observed = operation.argument + random.below(4);
      if (random.chance(0.2)) operation.status = Status::not_a_number;
    }
    const bool may_miss = operation.kind != Kind::put && operation.kind != Kind::add;
    if (may_miss && random.chance(0.3)) operation.status = Status::not_found;
    if ((operation.kind == Kind::put || operation.kind == Kind::touch) && random.chance(0.2)) {
      operation.expires_from_ns = operation.begin_ns + random.below(6);
      operation.expires_until_ns =
          random.chance(0.2) ? kOpen : operation.expires_from_ns + random.below(6);
    }
    if (!reads && random.chance(0.2)) {
      operation.status = Status::indeterminate;
      operation.version = kNotTold;
      if (random.chance(0.5)) operation.end_ns = kOpen;
    }
    history.append(operation);
  }
  return history;
}

}  // namespace copykv::sim
