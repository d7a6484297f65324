// SPDX-License-Identifier: Apache-2.0
// copykv exists KEY: version and size of a key's value, without the value.
#include <fmt/format.h>

#include <memory>

#include "tools/copykv/session.hpp"

namespace copykv::tools {
namespace {

Exit run(const Common& common, const std::string& key) {
  Client client = attach(common);
  const Result result = finish(client, client.submit_exists(key, 0), common, "exists");
  if (result.status == Status::not_found) return Exit::no_key;  // an answer, not an error
  if (!result.ok()) throw failure_of(result, key);
  write_out(fmt::format("version {} bytes {}\n", result.version, result.value_bytes));
  flush_out();
  return Exit::done;
}

}  // namespace

void add_exists(Commands& commands) {
  auto key = std::make_shared<std::string>();
  Command command =
      commands.add("exists", "print `version V bytes N` of a key; exit 1: no such key",
                   [key](const Common& common) { return run(common, *key); });
  command.argument("KEY", *key, "the key");
}

}  // namespace copykv::tools
