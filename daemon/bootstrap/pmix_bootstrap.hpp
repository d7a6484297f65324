// SPDX-License-Identifier: Apache-2.0
// --rendezvous pmix: ranks meet through the launcher that started them (mpirun, srun --mpi=pmix).
// No program needs to be MPI for that, and a child process of a launched one counts as the rank
// itself: it inherits PMIX_* and is the only one of the two that speaks.
//
// libpmix is loaded when it is asked for. Of its interface only the types are compiled in; a build
// without pmix.h says so when it is asked.
#pragma once

#include <memory>

#include "daemon/bootstrap/bootstrap.hpp"

namespace copykv::bootstrap {

[[nodiscard]] Outcome<std::unique_ptr<Bootstrap>> make_pmix_bootstrap(
    const BootstrapOptions& options);

}  // namespace copykv::bootstrap
