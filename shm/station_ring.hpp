// SPDX-License-Identifier: Apache-2.0
// Where a daemon thread writes down when sampled requests passed it: a ring of records behind the
// rank page of a rank that stamps (docs/protocol.md, Stations).
//
// A request to another rank leaves two records, which `mark` joins: a call at the rank that asks,
// an answer at the rank that owns the key. A call names the request as its client does (client,
// slot, sequence).
//
// SYNC     One writer. It fills the record, then publishes the number of records ever written.
//   [A] writer: publish(written, n), store_fence, fill record n    reader: fill, full_fence,
//   observe A reader copies records and then looks at `written` again: what the writer may have
//   begun to overwrite meanwhile does not count. The newest kStationRecords - 1 records can be
//   read.
// THREADS  write: the daemon thread. read: anybody, at any time.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/atomics.hpp"
#include "shm/rank_page.hpp"

namespace copykv {

inline constexpr uint32_t kStationRecords = 32'768;

/// Moments are of the clock (CLOCK_MONOTONIC) of the machine that wrote the record.
struct StationRecord {
  enum class Kind : uint16_t { call = 1, answer = 2 };
  static constexpr size_t kMoments = 6;

  // The moments of a call.
  static constexpr size_t kSeen = 0;       ///< the engine hands it over to be sent
  static constexpr size_t kStaged = 1;     ///< it stands in a batch
  static constexpr size_t kPosted = 2;     ///< not later than the post of that batch
  static constexpr size_t kLooked = 3;     ///< last look before that found everything taken; or 0
  static constexpr size_t kCompleted = 4;  ///< the answer was found
  static constexpr size_t kWritten = 5;    ///< not earlier than the response line
  // The moments of an answer: as above, of the other side.
  static constexpr size_t kPeerLooked = 0;
  static constexpr size_t kPeerSeen = 1;
  static constexpr size_t kPeerAnswered = 2;
  static constexpr size_t kPeerPosted = 3;

  uint64_t mark;  ///< given by the daemon thread that asks, as no other of its requests
  Kind kind;
  uint16_t rank;    ///< of the other side: who owns the key of a call, who made it of an answer
  uint16_t daemon;  ///< "
  uint16_t reserved;
  uint32_t client;  ///< call: number of the client at its rank. answer: 0, as the next two
  uint32_t slot;
  uint32_t seq;
  uint32_t reserved2;
  std::array<uint64_t, kMoments> at_ns;
};
static_assert(sizeof(StationRecord) == 80 && offsetof(StationRecord, at_ns) == 32);

struct alignas(kPageBytes) StationRing {
  uint64_t written;                          ///< records ever written
  alignas(kCacheLineBytes) uint64_t missed;  ///< sampled requests that no record could be kept of
  alignas(kCacheLineBytes) StationRecord records[kStationRecords];

  /// The writer's.
  void write(const StationRecord& record) noexcept {
    const uint64_t number = peek(written);
    store_fence();  // [A]
    copy_to_shared(&records[number % kStationRecords], &record, sizeof(record));
    publish(written, number + 1);
  }

  /// The records from number `from` on that can still be read.
  [[nodiscard]] std::vector<StationRecord> read(uint64_t from) const {
    const uint64_t end = observe(written);
    const uint64_t begin = std::max(from, first_kept(end));
    std::vector<StationRecord> copies(end - std::min(begin, end));
    for (uint64_t number = begin; number < end; ++number) {
      copy_from_shared(&copies[number - begin], &records[number % kStationRecords],
                       sizeof(StationRecord));
    }
    full_fence();  // [A]
    const uint64_t overwritten = std::max(begin, first_kept(observe(written))) - begin;
    copies.erase(copies.begin(), copies.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(
                                                      overwritten, copies.size())));
    return copies;
  }

 private:
  /// The record after the one that may be being overwritten.
  [[nodiscard]] static uint64_t first_kept(uint64_t end) noexcept {
    return end < kStationRecords ? 0 : end - kStationRecords + 1;
  }
};

/// The memfd of a rank page: the page, and behind it a ring for each daemon thread that stamps.
[[nodiscard]] constexpr uint64_t rank_file_bytes(uint32_t daemon_count, bool stations) noexcept {
  return rank_page_bytes(daemon_count) + (stations ? daemon_count * sizeof(StationRing) : 0);
}
/// Only where RankHeader::stations says that there are rings.
[[nodiscard]] inline const StationRing& station_ring(const RankHeader& header,
                                                     uint32_t daemon_count,
                                                     uint32_t daemon) noexcept {
  return reinterpret_cast<const StationRing*>(reinterpret_cast<const std::byte*>(&header) +
                                              rank_page_bytes(daemon_count))[daemon];
}
[[nodiscard]] inline StationRing& station_ring(RankHeader& header, uint32_t daemon_count,
                                               uint32_t daemon) noexcept {
  return const_cast<StationRing&>(station_ring(std::as_const(header), daemon_count, daemon));
}

}  // namespace copykv
