// SPDX-License-Identifier: Apache-2.0
// What clients saw: one Operation per call, and the files that keep them.
//
//   const size_t at = history.begin({.key = 7, .begin_ns = now, .argument = value_id(3, 17),
//                                    .process = 3, .kind = Kind::put});
//   history.end(at, {.status = Status::ok, .end_ns = now, .version = result.version});
//
// VALUES     What a put writes is named by a word that no other put of that key writes in the whole
//   history (value_id; never kUnread). Numbers, which add counts on, are their own names:
//   Operation::number.
// OPEN       An operation that never ended (end_ns is kOpen) or ended as indeterminate may have
//   taken effect at any time after its beginning, or never. One that was told indeterminate at
//   end_ns takes no effect in a life of its owner that begins later: see wipe.
// ORDER      Operations of one process on one key stand in the order in which they were submitted.
// THREADS    A History belongs to one thread; merge joins those of several.
// TIMES      Nanoseconds of one clock that all processes share. Equal times are concurrent.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <copykv/status.hpp>

#include "base/error.hpp"

namespace copykv::sim {

inline constexpr uint64_t kOpen = UINT64_MAX;     ///< of a time: never
inline constexpr uint64_t kUnread = UINT64_MAX;   ///< no name of a value
inline constexpr uint64_t kNotTold = UINT64_MAX;  ///< of a version: the caller did not learn it

enum class Kind : uint8_t {
  get = 0,
  put = 1,
  del = 2,
  exists = 3,
  add = 4,
  touch = 5,
  wipe = 6,   ///< the owner dies and starts empty: begins when its end was ordered, ends before the
              ///< next life can serve. It must happen in between; never ended: it may.
  death = 7,  ///< process died at begin_ns: what it left open is nobody's fault. No key.
};
inline constexpr uint8_t kKindCount = 8;
[[nodiscard]] std::string_view to_string(Kind kind) noexcept;

/// Condition of a put.
enum class When : uint8_t { always = 0, if_absent = 1, if_present = 2, if_version = 3 };
inline constexpr uint8_t kWhenCount = 4;

/// One key of one call: a batch is as many operations as it has keys.
struct Operation {
  uint64_t key = 0;
  uint64_t begin_ns = 0;
  uint64_t end_ns = kOpen;
  uint64_t argument = 0;    ///< put: the value's name, or the number; add: what was added (signed)
  uint64_t if_version = 0;  ///< put if_version
  uint64_t observed = 0;    ///< get: the value's name, or the number; add: the sum
  uint64_t version = kNotTold;        ///< of the answer
  uint64_t expires_from_ns = kOpen;   ///< put and touch with a life: the item vanishes at a moment
  uint64_t expires_until_ns = kOpen;  ///< from .. until. from kOpen: never expires
  uint32_t process = 0;               ///< who called; another one after a restart
  Kind kind = Kind::get;
  Status status = Status::indeterminate;
  When when = When::always;
  bool number = false;  ///< put, get: argument or observed is a number

  [[nodiscard]] bool ended() const noexcept { return end_ns != kOpen; }
  /// May have taken effect or not.
  [[nodiscard]] bool open() const noexcept {
    return end_ns == kOpen || status == Status::indeterminate;
  }
  [[nodiscard]] bool expires() const noexcept { return expires_from_ns != kOpen; }
  bool operator==(const Operation&) const = default;
};
static_assert(sizeof(Operation) == 80);

/// Names of values, as stories tell them: "value 17 of client 3".
inline constexpr uint32_t kSequenceBits = 40;
[[nodiscard]] constexpr uint64_t value_id(uint32_t writer, uint64_t sequence) noexcept {
  return uint64_t{writer} << kSequenceBits | sequence;
}

/// What an operation ended with.
struct Ending {
  Status status = Status::ok;
  uint64_t end_ns = 0;
  uint64_t version = kNotTold;
  uint64_t observed = 0;
  bool number = false;  ///< get: observed is a number
};

/// The owner of the key lost everything between these times.
[[nodiscard]] constexpr Operation wipe_of(uint64_t key, uint64_t begin_ns,
                                          uint64_t end_ns) noexcept {
  return {
      .key = key, .begin_ns = begin_ns, .end_ns = end_ns, .kind = Kind::wipe, .status = Status::ok};
}
[[nodiscard]] constexpr Operation death_of(uint32_t process, uint64_t at_ns) noexcept {
  return {.begin_ns = at_ns,
          .end_ns = at_ns,
          .process = process,
          .kind = Kind::death,
          .status = Status::ok};
}

class History {
 public:
  /// Returns the place for `end`. An operation that is never ended stays open.
  size_t begin(const Operation& operation) {
    operations_.push_back(operation);
    return operations_.size() - 1;
  }
  void end(size_t at, const Ending& ending) noexcept {
    Operation& operation = operations_[at];
    operation.status = ending.status;
    operation.end_ns = ending.end_ns;
    operation.version = ending.version;
    operation.observed = ending.observed;
    if (operation.kind == Kind::get) operation.number = ending.number;
  }
  void append(const Operation& operation) { operations_.push_back(operation); }
  void wipe(uint64_t key, uint64_t begin_ns, uint64_t end_ns) {
    append(wipe_of(key, begin_ns, end_ns));
  }
  void death(uint32_t process, uint64_t at_ns) { append(death_of(process, at_ns)); }
  void merge(const History& other);
  void clear() noexcept { operations_.clear(); }
  void reserve(size_t operations) { operations_.reserve(operations); }

  [[nodiscard]] const std::vector<Operation>& operations() const noexcept { return operations_; }
  [[nodiscard]] size_t size() const noexcept { return operations_.size(); }

 private:
  std::vector<Operation> operations_;
};

/// Files of histories: 24 bytes of head, 80 bytes per operation, a checksum. Little-endian.
[[nodiscard]] std::string to_bytes(const History& history);
/// Of any bytes: a history, or what is wrong with them.
[[nodiscard]] Outcome<History> history_of(std::string_view bytes);
[[nodiscard]] Outcome<void> save(const History& history, const std::string& path);
[[nodiscard]] Outcome<History> load_history(const std::string& path);

}  // namespace copykv::sim
