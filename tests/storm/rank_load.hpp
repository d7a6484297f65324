// SPDX-License-Identifier: Apache-2.0
// Threads that write and read records of all ranks, through every rank, and enter each call into
// the ledger and on a tape. Per rank there are two:
//
//   everything   keeps several calls in flight, to keys of all ranks
//   living       one call after the other, never to keys of the rank that is about to end: what the
//                others lose by its end is measured with these
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/random.hpp"
#include "tests/storm/ledger.hpp"
#include "tests/storm/ranks.hpp"
#include "tests/storm/tape.hpp"

namespace copykv::storm {

inline constexpr uint32_t kKeysPerRank = 48;

inline constexpr uint32_t kNobody = ~uint32_t{0};

/// Owners of the keys that the load of so many ranks uses.
[[nodiscard]] std::vector<uint32_t> load_owners(const Ranks& ranks);

class RankLoad {
 public:
  RankLoad(const Ranks& ranks, Ledger& ledger)
      : ranks_(ranks), ledger_(ledger), tapes_(2 * ranks.count()) {}
  ~RankLoad() { stop(); }

  void start();
  void stop();

  /// Calls that ended ok: by the caller's rank and the owner.
  [[nodiscard]] uint64_t ok(uint32_t caller, uint32_t owner) const { return ok_[caller][owner]; }
  /// Of the threads `living`, those of the rank `but` left out.
  [[nodiscard]] uint64_t living_ok(uint32_t but) const;
  /// What all clients saw, and the deaths of their owners. After stop().
  [[nodiscard]] sim::History history() const;
  /// Empty, or the first thing that cannot be.
  [[nodiscard]] std::string violation() const;

  std::atomic<uint32_t> victim = kNobody;

 private:
  struct Seat {
    uint32_t rank;
    uint32_t process;
    Random random;
    uint64_t sequence = 0;
    Caller caller{};
    std::optional<Client> client{};
    std::string value{};
  };
  /// One call in flight.
  struct Flight {
    bool busy = false;
    LedgerCall call{};
    size_t at = 0;  ///< on the tape
  };
  void run_everything(Seat seat);
  void run_living(Seat seat);
  void finish_all(Seat& seat, std::span<Flight> flights);
  [[nodiscard]] bool attached(Seat& seat);
  [[nodiscard]] Flight begin(Seat& seat, uint64_t key, CallKind kind);
  void ended(const Seat& seat, const Flight& flight, const Result& result);
  [[nodiscard]] Tape& tape(const Seat& seat) { return tapes_[seat.process - 1]; }
  void violated(const std::string& what);

  const Ranks& ranks_;
  Ledger& ledger_;
  Tapes tapes_;
  std::atomic<bool> stopping_ = false;
  std::array<std::array<std::atomic<uint64_t>, kRanksMax>, kRanksMax> ok_{};
  std::array<std::atomic<uint64_t>, kRanksMax> living_ok_{};
  mutable std::mutex lock_;
  std::string violation_;
  std::vector<std::thread> threads_;
};

}  // namespace copykv::storm
