// SPDX-License-Identifier: Apache-2.0
// The daemons that a runtime directory speaks of: which answer, and what dead ones left behind.
#pragma once

#include <string>
#include <vector>

#include "tools/copykv/command.hpp"
#include "tools/copykv/doctor_checks.hpp"

namespace copykv::tools {

/// One check for each rank of each job in the runtime directory. With `fix`, the files of daemons
/// that are proven dead are removed. Each daemon has --timeout to answer.
[[nodiscard]] std::vector<Check> check_ranks(const Common& common, bool fix);

}  // namespace copykv::tools
