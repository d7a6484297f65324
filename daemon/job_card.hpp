// SPDX-License-Identifier: Apache-2.0
// What a rank tells the others through the bootstrap, and who owns what after everyone has.
//
// NODES   Daemon d of rank r is node r * kRailsMax + d: known before anybody else is.
// OWNERS  All daemons of the job in order of rank and daemon, turned so that the own ones come
//   first. Partition p belongs to the p-th of them (in rank order, modulo their number).
// RAILS   Daemon i of this rank talks with daemon j of another when j is i modulo the own number
//   of daemons, or i is j modulo the other's: same index to same index where the numbers agree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "copyrpc/wire.hpp"
#include "shm/rank_page.hpp"

namespace copykv {

/// Daemons per rank in a job of many ranks.
inline constexpr uint32_t kRailsMax = 16;
inline constexpr uint32_t kJobRanksMax = copyrpc::kNodesMax / kRailsMax;

[[nodiscard]] constexpr copyrpc::PeerId node_of(uint32_t rank, uint32_t daemon) noexcept {
  return rank * kRailsMax + daemon;
}

struct JobCard {
  uint32_t rank = 0;
  uint64_t epoch = 0;
  uint64_t value_bytes_max = 0;
  std::string transport{};
  std::vector<copyrpc::Card> daemons{};

  [[nodiscard]] std::string pack() const;
  [[nodiscard]] static Outcome<JobCard> unpack(std::string_view bytes);
};

/// Whether these ranks can be one job, as seen from `own`; the line names the rank that differs.
[[nodiscard]] Outcome<void> check_job(const std::vector<JobCard>& cards, uint32_t own);

[[nodiscard]] constexpr bool talks(uint32_t own_daemon, uint32_t own_daemons, uint32_t daemon,
                                   uint32_t daemons) noexcept {
  return daemon % own_daemons == own_daemon || own_daemon % daemons == daemon;
}

struct Routing {
  std::vector<OwnerPlace> owners{};      ///< own daemons first
  std::vector<copyrpc::PeerId> nodes{};  ///< of the owners
  std::vector<uint16_t> partition_owner{};
  std::vector<uint8_t> partition_rail{};

  /// As clients and the engine read it.
  void write_to(RankHeader& page) const;
};
/// From the number of daemons of each rank.
[[nodiscard]] Routing make_routing(const std::vector<uint32_t>& daemons, uint32_t own_rank);

}  // namespace copykv
