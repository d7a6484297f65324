// SPDX-License-Identifier: Apache-2.0
// Histories of one key, written by hand: a line per operation.
#pragma once

#include "sim/check/linearizability.hpp"
#include "tests/unit/sim/brute_force.hpp"

namespace copykv::sim {

inline constexpr uint64_t kKey = 5;

/// From and until when, by whom.
struct At {
  uint64_t begin_ns = 0;
  uint64_t end_ns = kOpen;
  uint32_t process = 1;
};

class Scene {
 public:
  /// Returns the operation, to change what the line does not say. Valid until the next line.
  Operation& line(const At& at, Kind kind, Status status, uint64_t version = kNotTold) {
    lines_.push_back({.key = kKey,
                      .begin_ns = at.begin_ns,
                      .end_ns = at.end_ns,
                      .version = version,
                      .process = at.process,
                      .kind = kind,
                      .status = status});
    return lines_.back();
  }
  Operation& put(const At& at, uint64_t value, uint64_t version, When when = When::always) {
    Operation& put = line(at, Kind::put, Status::ok, version);
    put.argument = value;
    put.when = when;
    return put;
  }
  /// Told indeterminate at at.end_ns, or never ended.
  Operation& open_put(const At& at, uint64_t value) {
    Operation& put = line(at, Kind::put, Status::indeterminate);
    put.argument = value;
    return put;
  }
  Operation& get(const At& at, uint64_t value, uint64_t version) {
    Operation& get = line(at, Kind::get, Status::ok, version);
    get.observed = value;
    return get;
  }
  Operation& missing(const At& at, Kind kind = Kind::get) {
    return line(at, kind, Status::not_found);
  }
  Operation& del(const At& at) { return line(at, Kind::del, Status::ok); }
  Operation& add(const At& at, int64_t delta, int64_t sum, uint64_t version) {
    Operation& add = line(at, Kind::add, Status::ok, version);
    add.argument = static_cast<uint64_t>(delta);
    add.observed = static_cast<uint64_t>(sum);
    return add;
  }
  Operation& wipe(uint64_t begin_ns, uint64_t end_ns) {
    return line({begin_ns, end_ns, 0}, Kind::wipe, Status::ok);
  }

  [[nodiscard]] History history() const {
    History history;
    for (const Operation& operation : lines_) history.append(operation);
    return history;
  }
  [[nodiscard]] Verdict check(bool client_order = true) const {
    return check_linearizability(history(), {.client_order = client_order});
  }
  [[nodiscard]] bool ok() const { return check().ok(); }
  [[nodiscard]] bool by_all_orders(bool client_order = true) const {
    return has_an_order(history(), client_order);
  }

 private:
  std::vector<Operation> lines_;
};

}  // namespace copykv::sim
