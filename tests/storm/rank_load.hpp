// SPDX-License-Identifier: Apache-2.0
// Threads that write and read numbered records of all ranks, through every rank, and enter each
// call into the ledger. Per rank there are two:
//
//   everything   keeps several calls in flight, to keys of all ranks
//   living       one call after the other, never to keys of the rank that is about to end: what the
//                others lose by its end is measured with these
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/random.hpp"
#include "tests/storm/ledger.hpp"
#include "tests/storm/ranks.hpp"

namespace copykv::storm {

inline constexpr uint32_t kKeysPerThread = 24;
inline constexpr uint32_t kNobody = ~uint32_t{0};

/// Owners of the keys that the load of so many ranks uses.
[[nodiscard]] std::vector<uint32_t> load_owners(const Ranks& ranks);

class RankLoad {
 public:
  RankLoad(const Ranks& ranks, Ledger& ledger) : ranks_(ranks), ledger_(ledger) {}
  ~RankLoad() { stop(); }

  void start();
  void stop();

  /// Calls that ended ok: by the caller's rank and the owner.
  [[nodiscard]] uint64_t ok(uint32_t caller, uint32_t owner) const { return ok_[caller][owner]; }
  /// Of the threads `living`, those of the rank `but` left out.
  [[nodiscard]] uint64_t living_ok(uint32_t but) const;
  /// Empty, or the first thing that cannot be.
  [[nodiscard]] std::string violation() const;

  std::atomic<uint32_t> victim = kNobody;

 private:
  struct Seat {
    uint32_t rank;
    uint64_t first_key;
    Random random;
    Caller caller{};
    std::optional<Client> client{};
  };
  void run_everything(Seat seat);
  void run_living(Seat seat);
  [[nodiscard]] bool attached(Seat& seat);
  void ended(const LedgerCall& call, const Result& result);
  [[nodiscard]] std::string value_for(const LedgerCall& call, Random& random) const;
  void violated(const std::string& what);

  const Ranks& ranks_;
  Ledger& ledger_;
  std::atomic<bool> stopping_ = false;
  std::array<std::array<std::atomic<uint64_t>, kRanksMax>, kRanksMax> ok_{};
  std::array<std::atomic<uint64_t>, kRanksMax> living_ok_{};
  mutable std::mutex lock_;
  std::string violation_;
  std::vector<std::thread> threads_;
};

}  // namespace copykv::storm
