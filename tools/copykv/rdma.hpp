// SPDX-License-Identifier: Apache-2.0
// RDMA devices, as a daemon of this machine would find them, and what --transport auto takes.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/error.hpp"
#include "copyrpc/fabric/verbs/verbs_fabric.hpp"
#include "tools/copykv/doctor_checks.hpp"

namespace copykv::tools {

struct Rdma {
  Outcome<std::vector<copyrpc::VerbsPort>> ports;  ///< an error: there is none, and why
  copyrpc::AutoTransport choice;
};

/// Opens each device for a moment, and makes queues on it to see what is granted.
[[nodiscard]] Rdma look_at_rdma();

/// One check for each port, and one for what --transport auto takes.
[[nodiscard]] std::vector<Check> check_rdma(const Rdma& rdma);

[[nodiscard]] nlohmann::ordered_json to_json(const Rdma& rdma);

}  // namespace copykv::tools
