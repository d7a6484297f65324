// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/rdma.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/units.hpp"

namespace copykv::tools {
namespace {

using copyrpc::VerbsPort;

/// "rc, 220 B inline", or "no rc: <why>".
std::string queue_text(const char* name, uint32_t inline_bytes, const std::string& reason) {
  return reason.empty() ? fmt::format("{}, {} B inline", name, inline_bytes)
                        : fmt::format("no {}: {}", name, reason);
}

std::string limits_text(const VerbsPort& port) {
  return fmt::format("max_qp {}, max_qp_wr {}, max_srq_wr {}, max_cqe {}",
                     format_count(port.queue_pairs_max), format_count(port.queue_entries_max),
                     format_count(port.receive_entries_max),
                     format_count(port.completion_entries_max));
}

Check check_port(const VerbsPort& port) {
  Check check{"rdma", Verdict::ok, fmt::format("{} port {}: ", port.device, port.port)};
  if (!port.reason.empty()) {
    check.verdict = Verdict::warn;
    check.finding += "cannot be used";
    check.remedy = port.reason;
    return check;
  }
  check.finding +=
      fmt::format("{}, {}, GID {}, MTU {}{}; {}; {}; {}", port.link, port.state, port.gid,
                  port.mtu_bytes, port.near ? "" : ", on another NUMA node than this process",
                  limits_text(port), queue_text("rc", port.rc_inline_bytes, port.rc_reason),
                  queue_text("dc", port.dc_inline_bytes, port.dc_reason));
  if (!port.rc_reason.empty()) {
    check.verdict = Verdict::warn;
    check.remedy = port.rc_reason;
  }
  return check;
}

nlohmann::ordered_json to_json(const VerbsPort& port) {
  return {{"device", port.device},
          {"port", port.port},
          {"link", port.link},
          {"state", port.state},
          {"gid", port.gid},
          {"gid_index", port.gid_index},
          {"mtu_bytes", port.mtu_bytes},
          {"message_bytes_max", port.message_bytes_max},
          {"near", port.near},
          {"reason", port.reason},
          {"max_qp", port.queue_pairs_max},
          {"max_qp_wr", port.queue_entries_max},
          {"max_srq_wr", port.receive_entries_max},
          {"max_cqe", port.completion_entries_max},
          {"rc", port.reason.empty() && port.rc_reason.empty()},
          {"rc_inline_bytes", port.rc_inline_bytes},
          {"rc_reason", port.rc_reason},
          {"dc", port.reason.empty() && port.dc_reason.empty()},
          {"dc_inline_bytes", port.dc_inline_bytes},
          {"dc_reason", port.dc_reason}};
}

}  // namespace

Rdma look_at_rdma() {
  return {copyrpc::verbs_ports({}), copyrpc::auto_transport({})};
}

std::vector<Check> check_rdma(const Rdma& rdma) {
  std::vector<Check> checks;
  if (!rdma.ports) {
    checks.push_back({"rdma", Verdict::ok, rdma.ports.error, {}});
  } else {
    for (const VerbsPort& port : *rdma.ports) checks.push_back(check_port(port));
  }
  checks.push_back({"transport", Verdict::ok, rdma.choice.why, {}});
  return checks;
}

nlohmann::ordered_json to_json(const Rdma& rdma) {
  nlohmann::ordered_json ports = nlohmann::ordered_json::array();
  if (rdma.ports) {
    for (const VerbsPort& port : *rdma.ports) ports.push_back(to_json(port));
  }
  return {{"ports", ports},
          {"none", rdma.ports.error},
          {"auto", rdma.choice.name},
          {"why", rdma.choice.why}};
}

}  // namespace copykv::tools
