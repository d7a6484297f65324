// SPDX-License-Identifier: Apache-2.0
// The calls that this node has made and that are not over. Fixed size. A call id is the index of
// its record and the record's generation, so that a late or repeated answer completes nothing.
//
// Each peer's calls form a list in the order in which they were made: when the peer fails, or its
// oldest call has waited too long, they are found without a search.
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
  CallTag tag{};
  uint64_t started_ns = 0;  ///< exact when `timed`, else of the last tick
  PeerId peer = kNoPeer;
  uint32_t generation = 1;
  uint32_t batch = 0;  ///< that it was staged in
  uint32_t newer = kNoCall;
  uint32_t older = kNoCall;  ///< free records: the next free one
  uint32_t answer_cost = 0;  ///< ring bytes reserved for the answer: message_cost of its largest
  bool timed = false;
  bool abandoned = false;  ///< its end was told; only its answer's room is still waited for
};

/// A peer's calls, oldest to newest.
struct CallList {
  uint32_t oldest = kNoCall;
  uint32_t newest = kNoCall;
};

class CallTable {
 public:
  explicit CallTable(uint32_t calls_max) : count_(calls_max), records_(calls_max) {
    for (uint32_t index = calls_max; index > 0; --index) {
      records_[index - 1].older = free_;
      free_ = index - 1;
    }
  }

  [[nodiscard]] bool full() const noexcept { return free_ == kNoCall; }
  [[nodiscard]] uint32_t in_use() const noexcept { return in_use_; }

  /// A record at the end of `list`; not when full.
  CallRecord& add(CallList& list, uint64_t& id) noexcept {
    const uint32_t index = free_;
    CallRecord& record = records_[index];
    free_ = record.older;
    ++in_use_;
    record.older = list.newest;
    record.newer = kNoCall;
    (list.newest == kNoCall ? list.oldest : records_[list.newest].newer) = index;
    list.newest = index;
    record.abandoned = false;
    id = id_of(index);
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
  [[nodiscard]] uint64_t id_of(uint32_t index) const noexcept {
    return uint64_t{index} | uint64_t{records_[index].generation} << 32;
  }
  void remove(CallList& list, CallRecord& record) noexcept {
    const auto index = static_cast<uint32_t>(&record - records_.data());
    COPYKV_ASSERT(record.peer != kNoPeer, "call={} is free", index);
    (record.older == kNoCall ? list.oldest : records_[record.older].newer) = record.newer;
    (record.newer == kNoCall ? list.newest : records_[record.newer].older) = record.older;
    record.peer = kNoPeer;
    ++record.generation;
    record.older = free_;
    free_ = index;
    --in_use_;
  }

 private:
  const uint32_t count_;
  std::vector<CallRecord> records_;
  uint32_t free_ = kNoCall;
  uint32_t in_use_ = 0;
};

}  // namespace copyrpc
