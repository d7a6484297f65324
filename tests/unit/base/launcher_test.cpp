// SPDX-License-Identifier: Apache-2.0
#include "base/launcher.hpp"

#include <map>

#include <catch2/catch.hpp>

namespace copykv {
namespace {

using Catch::Matchers::Contains;
using Variables = std::map<std::string, std::string>;

Outcome<std::optional<Launch>> find_in(const Variables& variables) {
  return find_launch([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

Launch launch_in(const Variables& variables) {
  const auto found = find_in(variables);
  INFO(found.error);
  REQUIRE(found);
  REQUIRE(found->has_value());
  return **found;
}

TEST_CASE("launcher: each says it in its own words") {
  const auto open_mpi = launch_in({{"OMPI_COMM_WORLD_RANK", "3"},
                                   {"OMPI_COMM_WORLD_SIZE", "8"},
                                   {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                   {"PMIX_RANK", "3"}});
  CHECK(open_mpi.launcher == "Open MPI");
  CHECK(open_mpi.rank == 3);
  CHECK(open_mpi.ranks == 8);
  CHECK(open_mpi.local_rank == 1);
  const auto pmix = launch_in({{"PMIX_RANK", "2"}});
  CHECK(pmix.launcher == "PMIx");
  CHECK(pmix.rank == 2);
  CHECK_FALSE(pmix.ranks.has_value());
  const auto pmi = launch_in({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}, {"MPI_LOCALRANKID", "0"}});
  CHECK(pmi.launcher == "PMI");
  CHECK(pmi.ranks == 1);
  CHECK(pmi.local_rank == 0);
  const auto slurm =
      launch_in({{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "6"}, {"SLURM_LOCALID", "2"}});
  CHECK(slurm.launcher == "Slurm");
  CHECK(slurm.rank == 5);
  CHECK(slurm.ranks == 6);
  CHECK(slurm.local_rank == 2);
}

TEST_CASE("launcher: none") {
  CHECK_FALSE(find_in({})->has_value());
  CHECK_FALSE(find_in({{"OMPI_COMM_WORLD_SIZE", "4"}})->has_value());
  CHECK_FALSE(find_in({{"PMI_RANK", ""}})->has_value());
}

TEST_CASE("launcher: mpirun inside Slurm has the say") {
  // Slurm started mpirun's helper as its task 1; we are one of its ranks.
  const Variables nested = {{"SLURM_PROCID", "1"},         {"SLURM_NTASKS", "2"},
                            {"SLURM_STEP_ID", "0"},        {"OMPI_COMM_WORLD_RANK", "6"},
                            {"OMPI_COMM_WORLD_SIZE", "8"}, {"PMIX_RANK", "6"}};
  CHECK(launch_in(nested).rank == 6);
  CHECK(launch_in(nested).ranks == 8);
}

TEST_CASE("launcher: srun with PMIx knows the number of ranks from Slurm") {
  const auto launch = launch_in({{"PMIX_RANK", "1"},
                                 {"SLURM_PROCID", "1"},
                                 {"SLURM_STEP_ID", "0"},
                                 {"SLURM_STEP_NUM_TASKS", "2"},
                                 {"SLURM_NTASKS", "8"}});
  CHECK(launch.launcher == "PMIx");
  CHECK(launch.ranks == 2);
}

TEST_CASE("launcher: a batch script is no task of Slurm's") {
  Variables script = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_JOB_ID", "17"}};
  CHECK_FALSE(find_in(script)->has_value());
  script["SLURM_STEP_ID"] = "4294967290";  // the shell of an interactive allocation
  CHECK_FALSE(find_in(script)->has_value());
  script["SLURM_STEP_ID"] = "0";
  CHECK(find_in(script)->has_value());
}

TEST_CASE("launcher: what cannot be is an error that names the variable") {
  CHECK_THAT(find_in({{"OMPI_COMM_WORLD_RANK", "4"}, {"OMPI_COMM_WORLD_SIZE", "4"}}).error,
             Contains("OMPI_COMM_WORLD_RANK=4 and OMPI_COMM_WORLD_SIZE=4 contradict each other"));
  CHECK_THAT(find_in({{"OMPI_COMM_WORLD_RANK", "1"}}).error,
             Contains("OMPI_COMM_WORLD_RANK is set without OMPI_COMM_WORLD_SIZE"));
  CHECK_THAT(find_in({{"PMI_RANK", "-1"}, {"PMI_SIZE", "4"}}).error,
             Contains("PMI_RANK='-1' is no number of a rank"));
  CHECK_THAT(find_in({{"SLURM_PROCID", "1"}}).error, Contains("SLURM_NTASKS"));
  CHECK_THAT(
      find_in({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_RANK", "2"}})
          .error,
      Contains("OMPI_COMM_WORLD_RANK=1 and PMIX_RANK=2 contradict each other"));
}

}  // namespace
}  // namespace copykv
