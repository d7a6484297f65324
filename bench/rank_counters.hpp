// SPDX-License-Identifier: Apache-2.0
// The counters of a rank of this machine, mapped read-only: found through <job dir>/rank<r>.info
// and /proc/<pid>/fd, which works for daemons of the same user.
#pragma once

#include <cstdint>
#include <vector>

#include <boost/interprocess/mapped_region.hpp>

#include <copykv/client.hpp>

#include "base/error.hpp"
#include "bench/daemon_sample.hpp"

namespace copykv::bench {

class RankCounters {
 public:
  [[nodiscard]] static Outcome<RankCounters> open(const Options& attach);

  /// One per daemon thread.
  [[nodiscard]] std::vector<DaemonSample> read() const;

 private:
  RankCounters(boost::interprocess::mapped_region page, uint32_t rank, uint32_t daemon_count)
      : page_(std::move(page)), rank_(rank), daemon_count_(daemon_count) {}

  boost::interprocess::mapped_region page_;
  uint32_t rank_;
  uint32_t daemon_count_;  ///< as checked: the page is not asked again
};

}  // namespace copykv::bench
