// SPDX-License-Identifier: Apache-2.0
// What a rank shows to everyone: identity, routing table, and each daemon's counters. One memfd per
// rank, written by the rank, mapped read-only by clients and by `copykv stat` (which finds it
// through <runtime dir>/<job>/rank<r>.info, so it can be read even when every daemon thread hangs).
//
// Each counter has one writer (the daemon thread it belongs to, or the control thread) and is only
// ever poked; readers peek. A reader may see counters of slightly different moments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/hash.hpp"
#include "shm/segment.hpp"

namespace copykv {

inline constexpr uint64_t kRankPageMagic = 0x6b6e725f766b7063;  // "cpkv_rnk"

/// A daemon thread of some rank, as an owner of partitions.
struct OwnerPlace {
  uint16_t rank;
  uint8_t daemon;
  uint8_t rail;  ///< daemon of this rank that talks with it
};
/// More daemons than partitions would own nothing.
inline constexpr uint32_t kOwnersMax = kPartitionCount;

struct RankHeader {
  uint64_t magic;
  uint16_t abi_major;
  uint16_t abi_minor;
  uint32_t rank;
  uint64_t fingerprint;
  uint64_t epoch;  ///< differs between two starts; also the base of item versions
  uint32_t rank_count;
  uint32_t daemon_count;
  uint64_t value_bytes_max;
  uint64_t memory_budget_bytes;
  uint64_t started_unix_ms;
  uint32_t pid;
  uint32_t clients_attached;    ///< by the control thread
  uint64_t attaches;            ///< "
  uint64_t attaches_refused;    ///< "
  uint64_t clients_gone;        ///< "
  uint64_t bulk_bytes_granted;  ///< " now, all clients
  uint64_t routing_epoch;
  uint32_t owner_count;  ///< daemons of all ranks
  uint32_t stations;     ///< 1: sampled requests are stamped (shm/station_ring.hpp)
  /// Who owns a partition: an index into `owners`. The daemons of this rank come first.
  uint16_t partition_owner[kPartitionCount];
  /// Which lane takes requests for it: the own daemon, or the one that talks with the owner.
  uint8_t partition_rail[kPartitionCount];
  OwnerPlace owners[kOwnersMax];
};

/// Log-linear counts of durations: 32 buckets per power of two (3 % wide), 1 ns to about 8 s.
struct PhaseHistogram {
  static constexpr uint32_t kSubBucketBits = 5;
  static constexpr uint32_t kBuckets = 29U << kSubBucketBits;
  uint64_t counts[kBuckets];
  uint64_t sum_ns;
  uint64_t max_ns;

  [[nodiscard]] static constexpr uint32_t bucket_of(uint64_t value_ns) noexcept {
    constexpr uint64_t kSub = 1U << kSubBucketBits;
    if (value_ns < kSub) return static_cast<uint32_t>(value_ns);
    const uint32_t shift = 63U - static_cast<uint32_t>(__builtin_clzll(value_ns)) - kSubBucketBits;
    const uint64_t index = (uint64_t{shift} + 1) * kSub + ((value_ns >> shift) - kSub);
    return index < kBuckets ? static_cast<uint32_t>(index) : kBuckets - 1;
  }
  /// Largest value that falls into a bucket.
  [[nodiscard]] static constexpr uint64_t upper_ns(uint32_t bucket) noexcept {
    constexpr uint64_t kSub = 1U << kSubBucketBits;
    if (bucket < kSub) return bucket;
    const uint64_t shift = bucket / kSub - 1;
    return ((kSub + bucket % kSub + 1) << shift) - 1;
  }
  void record(uint64_t value_ns) noexcept {
    count<uint64_t>(counts[bucket_of(value_ns)], 1);
    count<uint64_t>(sum_ns, value_ns);
    if (value_ns > peek(max_ns)) poke(max_ns, value_ns);
  }
};

enum class Phase : uint8_t { completions, inbound, ground_queue, flush };
inline constexpr uint32_t kPhaseCount = 4;

/// Counters of one daemon thread. `sleeping` is alone in its line: clients read it per operation.
struct alignas(kPageBytes) DaemonBlock {
  alignas(kCacheLineBytes) uint32_t sleeping;  ///< 1: write the wake eventfd (shm/wake.hpp)

  alignas(2 * kCacheLineBytes) uint64_t turns;
  uint64_t busy_turns;     ///< turns that did something
  uint64_t requests;       ///< taken off lanes
  uint64_t groups;         ///< groups of up to 16 that they came in
  uint64_t by_op[16];      ///< requests by Op
  uint64_t by_status[16];  ///< answers by Status
  uint64_t bad_sequences;  ///< request words with a sequence out of order
  uint64_t deferred;       ///< requests put back because memory was still being populated
  uint64_t transfers;      ///< large values moved in chunks
  uint64_t transfer_bytes;
  uint64_t wakes_sent;        ///< futex wakes of sleeping clients
  uint64_t sleeps;            ///< times the daemon went to sleep
  uint64_t remote_calls;      ///< requests handed to the network
  uint64_t lanes;             ///< now
  uint64_t lanes_parked;      ///< now
  uint64_t ground_queue_sum;  ///< lanes on the ground queue, summed over sampled turns
  uint64_t sampled_turns;
  uint64_t longest_turn_ns;  ///< of the sampled turns
  uint64_t items;            ///< now
  uint64_t item_bytes_used;  ///< arena bytes in use, now
  uint64_t index_bytes;      ///< FastMap bytes, now
  uint64_t populated_bytes;  ///< memory taken from the machine, now
  uint64_t budget_bytes;
  uint64_t expired;           ///< items dropped because their time was over
  uint64_t chain_full;        ///< puts refused because too many keys collide in one bucket
  uint64_t remote_answers;    ///< ends of remote_calls
  uint64_t inbound_requests;  ///< of other ranks, served
  uint64_t messages_sent;     ///< calls and answers
  uint64_t batches_sent;      ///< that they left in
  uint64_t batches_received;
  uint64_t ring_full;                  ///< calls put off for want of credit
  uint64_t peers_up;                   ///< now
  uint64_t peers_failed;               ///< sessions that ended
  uint64_t peer_violations;            ///< of them, because of what the peer sent
  PhaseHistogram rtt_ns;               ///< of every 16th remote call, from call to answer
  PhaseHistogram phases[kPhaseCount];  ///< sampled turns
  PhaseHistogram turn_ns;              ///< sampled turns
};

/// The whole page: header, then daemon_count blocks.
[[nodiscard]] constexpr uint64_t rank_page_blocks_offset() noexcept {
  return (sizeof(RankHeader) + kPageBytes - 1) / kPageBytes * kPageBytes;
}
[[nodiscard]] constexpr uint64_t rank_page_bytes(uint32_t daemon_count) noexcept {
  return rank_page_blocks_offset() + uint64_t{daemon_count} * sizeof(DaemonBlock);
}
[[nodiscard]] inline const DaemonBlock& daemon_block(const RankHeader& header,
                                                     uint32_t daemon) noexcept {
  return reinterpret_cast<const DaemonBlock*>(reinterpret_cast<const std::byte*>(&header) +
                                              rank_page_blocks_offset())[daemon];
}
[[nodiscard]] inline DaemonBlock& daemon_block(RankHeader& header, uint32_t daemon) noexcept {
  return const_cast<DaemonBlock&>(daemon_block(std::as_const(header), daemon));
}

}  // namespace copykv
