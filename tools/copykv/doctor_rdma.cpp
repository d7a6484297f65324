// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "tools/copykv/doctor_checks.hpp"

namespace copykv::tools {
namespace {

namespace fs = std::filesystem;

/// Sorted; empty when there is no such directory.
std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

std::string line_of(const fs::path& file) {
  std::string text = read_text(file.string());
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

/// "mlx5_0 port 1 InfiniBand, ACTIVE, 100 Gb/sec"; the files say "4: ACTIVE".
std::string port_text(const fs::path& device, const fs::path& port) {
  const std::string state = line_of(port / "state");
  const auto colon = state.find(": ");
  const std::string link = line_of(port / "link_layer");
  return fmt::format("{} port {} {}, {}, {}", device.filename().string(), port.filename().string(),
                     link == "Ethernet" ? "RoCE" : link,
                     colon == std::string::npos ? state : state.substr(colon + 2),
                     line_of(port / "rate"));
}

/// Whether this user may open what libibverbs opens.
bool may_open(const std::string& nodes) {
  for (const fs::path& node : entries(nodes))
    if (node.filename().string().starts_with("uverbs") && access(node.c_str(), R_OK | W_OK) == 0)
      return true;
  return false;
}

}  // namespace

Check check_rdma(const std::string& classes, const std::string& nodes) {
  Check check{"rdma", Verdict::ok, {}};
  bool active = false;
  for (const fs::path& device : entries(classes)) {
    for (const fs::path& port : entries(device / "ports")) {
      if (!check.finding.empty()) check.finding += "; ";
      check.finding += port_text(device, port);
      active = active || line_of(port / "state").ends_with("ACTIVE");
    }
  }
  if (check.finding.empty()) {
    check.finding = "no RDMA device: --transport auto takes ofi-tcp";
  } else if (!may_open(nodes)) {
    check.verdict = Verdict::warn;
    check.finding += ": this user may not open it, so --transport auto takes ofi-tcp";
    check.remedy = fmt::format("give this user read and write access to {}/uverbs*", nodes);
  } else if (!active) {
    check.verdict = Verdict::warn;
    check.finding += ": no port is active, so --transport auto takes ofi-tcp";
    check.remedy = "check cable, switch and, for InfiniBand, the subnet manager";
  } else {
    check.finding += ": --transport auto takes rc, if copykvd was built with libibverbs";
  }
  return check;
}

}  // namespace copykv::tools
