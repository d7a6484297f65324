// SPDX-License-Identifier: Apache-2.0
// What a parallel launcher told this process about itself, by the environment:
//
//   launcher     rank                  ranks                   local rank
//   Open MPI     OMPI_COMM_WORLD_RANK  OMPI_COMM_WORLD_SIZE    OMPI_COMM_WORLD_LOCAL_RANK
//   PMIx         PMIX_RANK             (PMIx has to be asked)
//   PMI          PMI_RANK              PMI_SIZE                MPI_LOCALRANKID
//   Slurm        SLURM_PROCID          SLURM_STEP_NUM_TASKS,   SLURM_LOCALID
//                                      else SLURM_NTASKS
//
// The first of them counts: they nest in this order. Under Slurm, mpirun is started by Slurm, and
// its processes inherit Slurm's numbers of mpirun's own helpers, which are not theirs.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/error.hpp"

namespace copykv {

struct Launch {
  std::string launcher{};  ///< "Open MPI", "PMIx", "PMI" or "Slurm", for messages
  uint32_t rank = 0;
  std::optional<uint32_t> ranks{};  ///< unknown under PMIx alone
  std::optional<uint32_t> local_rank{};
};

/// Looks up one variable; nullptr: not set.
using EnvironmentLookup = std::function<const char*(const char* name)>;

/// Empty: no launcher started this process. Fails on values that cannot be: no numbers, a rank
/// beyond the number of ranks, Open MPI and PMIx of different minds.
[[nodiscard]] Outcome<std::optional<Launch>> find_launch(const EnvironmentLookup& environment);
[[nodiscard]] Outcome<std::optional<Launch>> find_launch();

}  // namespace copykv
