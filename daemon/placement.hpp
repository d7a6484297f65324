// SPDX-License-Identifier: Apache-2.0
// Which core each daemon thread runs on and which NUMA node its memory comes from, by hwloc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace copykv {

/// A place for one daemon thread. Without a core the thread floats.
struct CpuPlace {
  int cpu = -1;        ///< operating system's number of the core's first thread
  int numa_node = -1;  ///< where its memory is bound; -1: anywhere
  void bind_this_thread() const noexcept;
};

struct DaemonPlaces {
  std::vector<CpuPlace> places;  ///< one per daemon thread
  std::string note;              ///< what was done and why, for the log
};

/// `policy`: auto (compact where 4 cores and twice as many as daemons are allowed, else none),
/// none, compact (cores next to each other), spread (one per NUMA node in turn), or a list of CPU
/// numbers such as "2,4,6".
[[nodiscard]] Outcome<DaemonPlaces> place_daemons(std::string_view policy, uint32_t daemon_count);

}  // namespace copykv
