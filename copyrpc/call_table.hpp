// SPDX-License-Identifier: Apache-2.0
// The calls that this node has made and that are not over. Fixed size. A call id is the index of
// its record and the record's generation, so that a late or repeated answer completes nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "base/assert.hpp"
#include "copyrpc/fabric/fabric.hpp"

namespace copyrpc {

/// What the caller wants back with the answer; opaque to copyrpc.
struct CallTag {
  uint64_t words[2] = {};
};

inline constexpr uint32_t kNoCall = ~uint32_t{0};

/// One cache line.
struct alignas(64) CallRecord {
  static constexpr uint32_t kGenerationsPerTimed = 16;

  CallTag tag{};
  uint64_t started_ns = 0;  ///< exact when timed, else of the last tick
  PeerId peer = kNoPeer;    ///< kNoPeer: the record is free
  uint32_t generation = 0;
  uint32_t batch = 0;        ///< that it was staged in
  uint32_t answer_cost = 0;  ///< ring bytes reserved for the answer: message_cost of its largest
  uint32_t next_free = kNoCall;
  bool abandoned = false;  ///< its end was told; only its answer's room is still waited for

  /// Whether the clock is read for this call: every 16th of each record, not all in step.
  [[nodiscard]] bool timed() const noexcept { return generation % kGenerationsPerTimed == 0; }
};

class CallTable {
 public:
  explicit CallTable(uint32_t calls_max) : count_(calls_max), records_(calls_max) {
    for (uint32_t index = calls_max; index > 0; --index) {
      records_[index - 1].generation = index;
      records_[index - 1].next_free = free_;
      free_ = index - 1;
    }
  }

  [[nodiscard]] bool full() const noexcept { return free_ == kNoCall; }
  [[nodiscard]] uint32_t in_use() const noexcept { return in_use_; }
  /// No record from this one on was ever used.
  [[nodiscard]] uint32_t end() const noexcept { return end_; }

  /// Not when full. The caller fills the record.
  CallRecord& add(uint64_t& id) noexcept {
    const uint32_t index = free_;
    CallRecord& record = records_[index];
    free_ = record.next_free;
    ++in_use_;
    if (index >= end_) [[unlikely]]
      end_ = index + 1;
    id = uint64_t{index} | uint64_t{record.generation} << 32;
    return record;
  }
  /// The record of an id that came from `peer`; nullptr: no call to it, or an earlier one.
  [[nodiscard]] CallRecord* find(uint64_t id, PeerId peer) noexcept {
    const auto index = static_cast<uint32_t>(id);
    if (index >= count_) return nullptr;
    CallRecord& record = records_[index];
    return record.peer == peer && record.generation == id >> 32 ? &record : nullptr;
  }
  [[nodiscard]] CallRecord& at(uint32_t index) noexcept { return records_[index]; }
  void remove(CallRecord& record) noexcept {
    const auto index = static_cast<uint32_t>(&record - records_.data());
    record.peer = kNoPeer;
    ++record.generation;
    record.next_free = free_;
    free_ = index;
    --in_use_;
  }

 private:
  const uint32_t count_;
  std::vector<CallRecord> records_;
  uint32_t free_ = kNoCall;
  uint32_t end_ = 0;
  uint32_t in_use_ = 0;
};

}  // namespace copyrpc
