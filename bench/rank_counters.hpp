// SPDX-License-Identifier: Apache-2.0
// The rank page of a rank of this machine, mapped read-only: its counters, and which rank owns
// which keys. Found through <job dir>/rank<r>.info and /proc/<pid>/fd, which works for daemons of
// the same user.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <boost/interprocess/mapped_region.hpp>

#include <copykv/client.hpp>

#include "base/error.hpp"
#include "bench/daemon_sample.hpp"
#include "bench/key_map.hpp"
#include "shm/station_ring.hpp"

namespace copykv::bench {

class RankCounters {
 public:
  [[nodiscard]] static Outcome<RankCounters> open(const Options& attach);

  /// One per daemon thread.
  [[nodiscard]] std::vector<DaemonSample> read() const;

  /// Per daemon thread: what of its stations stands there from record `from[d]` on. Nothing where
  /// the rank does not stamp.
  [[nodiscard]] std::vector<std::vector<StationRecord>> read_stations(
      std::span<const uint64_t> from) const;
  /// Per daemon thread: records written until now.
  [[nodiscard]] std::vector<uint64_t> stations_written() const;

  /// Daemons of other ranks that the daemons of this one can reach now.
  [[nodiscard]] uint64_t peers_up() const noexcept;
  [[nodiscard]] uint32_t rank_count() const noexcept;
  [[nodiscard]] PartitionRanks partition_ranks() const;
  /// What the ranks talk by; "none" when there is one.
  [[nodiscard]] const std::string& transport() const noexcept { return transport_; }

 private:
  RankCounters(boost::interprocess::mapped_region page, uint32_t rank, uint32_t daemon_count,
               bool stations, std::string transport)
      : page_(std::move(page)),
        rank_(rank),
        daemon_count_(daemon_count),
        stations_(stations),
        transport_(std::move(transport)) {}
  [[nodiscard]] const RankHeader& header() const noexcept {
    return *static_cast<const RankHeader*>(page_.get_address());
  }

  boost::interprocess::mapped_region page_;
  uint32_t rank_;
  uint32_t daemon_count_;  ///< as checked: the page is not asked again
  bool stations_;          ///< "
  std::string transport_;
};

}  // namespace copykv::bench
