// SPDX-License-Identifier: Apache-2.0
// Which ranks of a job live, and whether a call may have ended as it did and when it did. What the
// answers say of the keys is for the checker (sim/check): the ledger enters the deaths there.
//
// LIVES     life(rank) is even while the rank may serve and odd from before its end until before
//   its next start. A statement needs the same life before and after the call.
// THREADS   dies, is_dead, starts, is_ready, stops, revives: one controller. begin, end: any.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <copykv/client.hpp>

#include "base/clock.hpp"
#include "sim/check/history.hpp"

namespace copykv::storm {

inline constexpr uint64_t kCallNsMax = 1'500 * kNanosPerMilli;
/// From the end of a rank until no call waits for it any more.
inline constexpr uint64_t kToldNsMax = kNanosPerSecond;
/// From when a rank says that it is ready until all others must be served by it.
inline constexpr uint64_t kServedNsMax = 2 * kNanosPerSecond;
inline constexpr uint32_t kRanksMax = 8;

enum class CallKind : uint8_t { read, write };

/// Who calls: a client that attached to `rank` in this life of it.
struct Caller {
  uint32_t rank = 0;
  uint64_t life = 0;
};

/// One call, as its beginning saw the world.
struct LedgerCall {
  uint64_t key = 0;
  uint64_t begin_ns = 0;
  uint64_t owner_life = 0;
  Caller caller{};
  CallKind kind = CallKind::read;
};

class Ledger {
 public:
  /// `owners` by key.
  explicit Ledger(std::vector<uint32_t> owners) : owners_(std::move(owners)) {}

  // The controller.
  void dies(uint32_t rank, uint64_t now_ns);
  void is_dead(uint32_t rank, uint64_t now_ns);
  void starts(uint32_t rank, uint64_t now_ns);
  void is_ready(uint32_t rank, uint64_t now_ns);
  /// As dies, for a rank that keeps its memory and comes back by revives.
  void stops(uint32_t rank, uint64_t now_ns);
  void revives(uint32_t rank, uint64_t now_ns);

  [[nodiscard]] LedgerCall begin(const Caller& caller, uint64_t key, CallKind kind,
                                 uint64_t now_ns) const;
  /// Empty, or what cannot be.
  [[nodiscard]] std::string end(const LedgerCall& call, Status status, uint64_t now_ns);

  /// What the deaths have emptied.
  void enter_deaths(sim::History& history) const;

  [[nodiscard]] uint64_t life(uint32_t rank) const { return ranks_[rank].life; }
  [[nodiscard]] uint32_t owner(uint64_t key) const { return owners_[key]; }
  [[nodiscard]] uint32_t keys() const { return static_cast<uint32_t>(owners_.size()); }

  /// Calls that ended because the owner was gone: the longest wait since the call, or since the
  /// owner's end, whichever was later.
  std::atomic<uint64_t> longest_told_ns = 0;
  std::atomic<uint64_t> longest_call_ns = 0;
  std::array<std::atomic<uint64_t>, kStatusCount> by_status{};
  /// Writes that ended as indeterminate while the caller's own rank lived.
  std::atomic<uint64_t> left_open = 0;

 private:
  struct Rank {
    std::atomic<uint64_t> life = 0;
    std::atomic<uint64_t> end_ns = 0;   ///< of the last life: when it was ordered
    std::atomic<uint64_t> dead_ns = 0;  ///< when nothing of it ran any more
    std::atomic<uint64_t> ready_ns = 0;
    std::atomic<bool> keeps_memory = false;
  };
  struct Death {
    uint32_t rank;
    uint64_t ordered_ns;
    uint64_t restart_ns;
  };
  [[nodiscard]] std::string check_status(const LedgerCall& call, Status status, bool same_owner,
                                         bool same_caller) const;

  const std::vector<uint32_t> owners_;
  std::array<Rank, kRanksMax> ranks_{};
  std::vector<Death> deaths_{};
};

}  // namespace copykv::storm
