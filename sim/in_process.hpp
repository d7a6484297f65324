// SPDX-License-Identifier: Apache-2.0
// The real engine and store inside the test process: lanes over plain memory, no socket, no thread
// of its own. Whoever calls turn() is the daemon thread.
//
// Each segment stands between two pages without access: a daemon that leaves a client's memory ends
// the test at once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <copykv/client.hpp>

#include "base/fd.hpp"
#include "daemon/engine.hpp"
#include "shm/segment.hpp"

namespace copykv::sim {

/// One client's place: its segment and what the daemon was told of it.
class Seat {
 public:
  Seat(const SegmentGeometry& geometry, uint64_t epoch);
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;
  ~Seat();

  [[nodiscard]] std::byte* base() const { return base_; }
  [[nodiscard]] std::span<std::byte> memory() const { return {base_, bytes_}; }
  [[nodiscard]] const SegmentGeometry& geometry() const { return geometry_; }
  [[nodiscard]] Slot& slot(uint32_t index) const {
    return reinterpret_cast<Slot*>(base_ + geometry_.lane_offset(0))[index];
  }
  [[nodiscard]] std::span<uint64_t> words_after_header() const {
    return {reinterpret_cast<uint64_t*>(base_ + kPageBytes), (bytes_ - kPageBytes) / 8};
  }
  [[nodiscard]] bool closed() const { return observe(closed_) == 1; }
  /// What the control thread would tell a daemon of this client.
  [[nodiscard]] LaneSetup setup(bool fence_free);

 private:
  SegmentGeometry geometry_;
  uint64_t bytes_;
  std::byte* guarded_ = nullptr;
  std::byte* base_ = nullptr;
  uint64_t bulk_bytes_granted_;
  uint32_t closed_ = 0;
};

class InProcessDaemon {
 public:
  struct Options {
    uint64_t memory_bytes = kStoreBudgetBytesMin;
    uint32_t lanes_max = 64;
    bool fence_free = false;
    uint32_t value_bytes_max = 1U << 20;
    uint32_t turns_per_clock_read = 1;  ///< production: 32
    uint32_t daemon_count = 1;          ///< owners below this are daemons of this rank
    uint32_t rank_count = 1;            ///< more than 1: keys may belong to owners behind `network`
    const Clock* clock = nullptr;       ///< nullptr: the system's
    Network* network = nullptr;         ///< nullptr: the rank is alone
    StoreMemory* memory = nullptr;      ///< nullptr: its own, of memory_bytes
  };
  explicit InProcessDaemon(const Options& options);

  [[nodiscard]] std::unique_ptr<Seat> attach(const SegmentGeometry& geometry);
  /// Tells the engine; the seat may go once closed() holds.
  void detach(const Seat& seat);
  /// With the clock that the daemon was given. `socket`: as Connection::in_process.
  [[nodiscard]] Client client(const Seat& seat, Wait wait = Wait::adaptive, Fd socket = {});

  /// Makes used memory as it was when new, for the next daemon of a test that makes many.
  static void clean(StoreMemory& memory) noexcept;

  /// One turn, and memory ahead of need (the control thread's work).
  uint32_t turn() noexcept;
  /// Turns until nothing is left to do, at most `turns_max`.
  void settle(uint32_t turns_max = 100'000) noexcept;
  void populate() noexcept;

  [[nodiscard]] Engine& engine() { return *engine_; }
  [[nodiscard]] Store& store() { return *store_; }
  [[nodiscard]] DaemonBlock& block() { return *block_; }
  /// The routing table is all zero: this daemon owns every key until a test says otherwise.
  [[nodiscard]] RankHeader& rank() { return *rank_; }
  [[nodiscard]] int wake_fd() const { return wake_fd_.get(); }

 private:
  [[nodiscard]] const Clock& clock() const {
    return options_.clock != nullptr ? *options_.clock : kSystemClock;
  }

  const Options options_;
  std::vector<std::byte> rank_page_;
  RankHeader* rank_ = nullptr;
  DaemonBlock* block_ = nullptr;
  std::unique_ptr<StoreMemory> own_memory_;
  StoreMemory* memory_ = nullptr;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Engine> engine_;
  Fd wake_fd_;
};

}  // namespace copykv::sim
