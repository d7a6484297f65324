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
//   auto made = Bootstrap::make(options);              // checks, opens, listens; no waiting
//   auto cards = (*made)->exchange(own_card);          // until everybody is there
//   each time wait_fd() is readable: for (auto& change : (*made)->changes()) ...
//
// The object lives as long as the rank: through it rank 0 serves those that start again, and every
// other rank stays known. A card may be of a rank that has died since; that is for the transport to
// find out. A rank can start again while others are dead, but not while rank 0 is; rank 0 can start
// again only when all others live.
//
// THREADS   One thread: the control thread of a rank. changes() must not be put off for longer than
//   half a second: who does not answer for 1 s (file) or 3 s (tcp) loses its number to a process
//   that asks for it.
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
  int stop_fd = -1;  ///< exchange() gives up when it is readable: a signalfd
};

inline constexpr uint32_t kCardBytesMax = 64 * 1024;
inline constexpr uint32_t kRanksMax = 1U << 16;

class Bootstrap {
 public:
  virtual ~Bootstrap() = default;

  [[nodiscard]] static Outcome<std::unique_ptr<Bootstrap>> make(const BootstrapOptions& options);

  /// Publishes the own card and waits until every rank's is there; returns them by rank. Called
  /// once. Blocks up to the deadline, and a second more to tell the others (rank 0) or as long as
  /// name servers take. After a failure there is nothing left to do but to end.
  [[nodiscard]] virtual Outcome<std::vector<std::string>> exchange(const std::string& card) = 0;

  struct Change {
    uint32_t rank = 0;
    std::string card;
  };
  /// Cards that have changed since: of ranks that started again, in the order of their starts.
  /// Bounded, does not block (file: beyond what its file system does). Trouble with the rendezvous
  /// is logged and mended by itself; it does not touch ranks that know each other.
  [[nodiscard]] virtual std::vector<Change> changes() = 0;

  /// Readable when changes() has something to do, which need not be a change; the same all the
  /// time. -1: there is never anything.
  [[nodiscard]] virtual int wait_fd() const noexcept { return -1; }

  /// Another process is this rank now, because this one did not answer for long: it must end.
  [[nodiscard]] virtual bool is_superseded() const noexcept { return false; }
};

}  // namespace copykv
