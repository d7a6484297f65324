// SPDX-License-Identifier: Apache-2.0
// How the ranks of a job find each other: every rank publishes one card (opaque bytes: addresses,
// keys, its epoch) and gets everyone's. A rank that starts again publishes a new card, and the
// others get it as a change.
//
//   file:///dir        a directory that all ranks share
//   tcp://host:port    rank 0 listens there, the others connect; a job secret keeps strangers out
//   pmix               the launcher's own service (mpirun, srun); a rank cannot come back
//   none               one rank
//
// THREADS   One thread: the control thread of a rank.
// ERRORS    Each line names what was wrong and the remedy: unreachable rendezvous, wrong secret,
//   another version, two ranks with one number, another number of ranks, ranks missing at the
//   deadline (by number).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace copykv {

struct BootstrapOptions {
  std::string url;
  std::string job;
  uint32_t rank = 0;
  uint32_t ranks = 1;
  std::string secret;  ///< tcp: of the job, the same for all ranks; never logged
  uint64_t deadline_ms = 30'000;
};

inline constexpr uint32_t kCardBytesMax = 64 * 1024;
inline constexpr uint32_t kRanksMax = 1U << 16;

class Bootstrap {
 public:
  virtual ~Bootstrap() = default;

  [[nodiscard]] static Outcome<std::unique_ptr<Bootstrap>> make(const BootstrapOptions& options);

  /// Publishes the own card and waits until every rank's is there; returns them by rank. Called
  /// once. Blocks up to the deadline.
  [[nodiscard]] virtual Outcome<std::vector<std::string>> exchange(const std::string& card) = 0;

  struct Change {
    uint32_t rank = 0;
    std::string card;
  };
  /// Cards that have changed since: of ranks that started again. Does not block. Trouble with the
  /// rendezvous is logged and mended by itself; it does not touch ranks that know each other.
  [[nodiscard]] virtual std::vector<Change> changes() = 0;

  /// Readable when changes() may have something; -1: ask now and then.
  [[nodiscard]] virtual int wait_fd() const noexcept { return -1; }
};

}  // namespace copykv
