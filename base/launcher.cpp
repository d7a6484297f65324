// SPDX-License-Identifier: Apache-2.0
#include "base/launcher.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "base/units.hpp"

namespace copykv {
namespace {

struct Names {
  const char* launcher;
  const char* rank;
  const char* ranks;
  const char* ranks_else;
  const char* local_rank;
};

constexpr Names kOpenMpi = {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", nullptr,
                            "OMPI_COMM_WORLD_LOCAL_RANK"};
constexpr Names kPmix = {"PMIx", "PMIX_RANK", nullptr, nullptr, nullptr};
constexpr Names kPmi = {"PMI", "PMI_RANK", "PMI_SIZE", nullptr, "MPI_LOCALRANKID"};
constexpr Names kSlurm = {"Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS",
                          "SLURM_LOCALID"};

// The script of a batch job and the shell of an allocation have SLURM_PROCID=0 as well, but no task
// was launched there: they have no step, or one of these reserved numbers.
constexpr uint64_t kSlurmFirstReservedStep = 0xffff'fff0;

using Number = Outcome<std::optional<uint32_t>>;

Number number_of(const EnvironmentLookup& environment, const char* name) {
  const char* const text = name == nullptr ? nullptr : environment(name);
  if (text == nullptr || *text == '\0') return std::optional<uint32_t>();
  const Outcome<uint64_t> number = parse_count(text, UINT32_MAX - 1);
  if (!number) {
    return Failure{
        fmt::format("{}='{}' is no number of a rank; start this program by its launcher "
                    "or unset {}",
                    name, text, name)};
  }
  return std::optional<uint32_t>(static_cast<uint32_t>(*number));
}

Outcome<std::optional<Launch>> read(const EnvironmentLookup& environment, const Names& names) {
  const Number rank = number_of(environment, names.rank);
  if (!rank) return Failure{rank.error};
  Number ranks = number_of(environment, names.ranks);
  const char* ranks_name = names.ranks;
  if (ranks && !ranks->has_value() && names.ranks_else != nullptr) {
    ranks_name = names.ranks_else;
    ranks = number_of(environment, ranks_name);
  }
  if (!ranks) return Failure{ranks.error};
  const Number local_rank = number_of(environment, names.local_rank);
  if (!local_rank) return Failure{local_rank.error};
  if (!rank->has_value()) return std::optional<Launch>();
  if (names.ranks != nullptr && !ranks->has_value()) {
    return Failure{fmt::format("{} is set without {}; give --rank and --ranks, or unset it",
                               names.rank, names.ranks_else == nullptr ? names.ranks : ranks_name)};
  }
  if (ranks->has_value() && **rank >= **ranks) {
    return Failure{
        fmt::format("{}={} and {}={} contradict each other: ranks are numbered from 0; "
                    "unset what is not of this launch",
                    names.rank, **rank, ranks_name, **ranks)};
  }
  return std::optional<Launch>(Launch{names.launcher, **rank, *ranks, *local_rank});
}

bool is_slurm_task(const EnvironmentLookup& environment) {
  const char* step = environment("SLURM_STEP_ID");
  if (step == nullptr) step = environment("SLURM_STEPID");
  if (step == nullptr) return environment("SLURM_JOB_ID") == nullptr;
  const Outcome<uint64_t> number = parse_count(step);
  return number && *number < kSlurmFirstReservedStep;
}

}  // namespace

Outcome<std::optional<Launch>> find_launch(const EnvironmentLookup& environment) {
  auto open_mpi = read(environment, kOpenMpi);
  if (!open_mpi) return open_mpi;
  auto pmix = read(environment, kPmix);
  if (!pmix) return pmix;
  if (open_mpi->has_value()) {
    if (pmix->has_value() && (*pmix)->rank != (*open_mpi)->rank) {
      return Failure{
          fmt::format("{}={} and {}={} contradict each other; unset what is not of this "
                      "launch",
                      kOpenMpi.rank, (*open_mpi)->rank, kPmix.rank, (*pmix)->rank)};
    }
    return open_mpi;
  }
  const bool by_slurm = is_slurm_task(environment);
  if (pmix->has_value()) {
    // srun --mpi=pmix: one launcher, two ways of saying it, and only Slurm's says how many.
    auto slurm = by_slurm ? read(environment, kSlurm) : std::optional<Launch>();
    if (slurm && slurm->has_value() && (*slurm)->rank == (*pmix)->rank &&
        (*slurm)->ranks.has_value()) {
      (*pmix)->ranks = (*slurm)->ranks;
    }
    return pmix;
  }
  auto pmi = read(environment, kPmi);
  if (!pmi || pmi->has_value() || !by_slurm) return pmi;
  return read(environment, kSlurm);
}

Outcome<std::optional<Launch>> find_launch() {
  return find_launch([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace copykv
