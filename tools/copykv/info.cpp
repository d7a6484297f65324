// SPDX-License-Identifier: Apache-2.0
// copykv info: what the daemon says about itself at attach, and the RDMA devices of the machine.
#include <fmt/format.h>

#include <memory>

#include <nlohmann/json.hpp>

#include "tools/copykv/rdma.hpp"
#include "tools/copykv/session.hpp"

namespace copykv::tools {
namespace {

nlohmann::ordered_json to_json(const Info& info) {
  return {{"job", info.job},
          {"rank", info.rank},
          {"rank_count", info.rank_count},
          {"daemon_threads", info.daemon_threads},
          {"daemon_pid", info.daemon_pid},
          {"epoch", info.epoch},
          {"socket_path", info.socket_path},
          {"value_bytes_max", info.value_bytes_max},
          {"queue_depth", info.queue_depth},
          {"slot_payload_bytes", info.slot_payload_bytes},
          {"segment_bytes", info.segment_bytes},
          {"fence_free", info.fence_free}};
}

Exit run(const Common& common, bool as_json) {
  const Client client = attach(common, Options{}.queue_depth);
  const Rdma rdma = look_at_rdma();
  nlohmann::ordered_json info = to_json(client.info());
  if (as_json) {
    info["rdma"] = to_json(rdma);
    write_out(info.dump(2) + "\n");
  } else {
    for (const auto& [name, value] : info.items()) {
      write_out(fmt::format("{:<20} {}\n", name,
                            value.is_string() ? value.get<std::string>() : value.dump()));
    }
    for (const Check& check : check_rdma(rdma)) {
      write_out(fmt::format("{:<20} {}\n", check.name, check.finding));
    }
  }
  flush_out();
  return Exit::done;
}

}  // namespace

void add_info(Commands& commands) {
  auto as_json = std::make_shared<bool>(false);
  Command command = commands.add("info", "show what the daemon says about itself",
                                 [as_json](const Common& common) { return run(common, *as_json); });
  command.flag("--json", *as_json, "as JSON");
}

}  // namespace copykv::tools
