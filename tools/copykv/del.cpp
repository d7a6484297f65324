// SPDX-License-Identifier: Apache-2.0
// copykv del KEY: removes a key.
#include <memory>

#include "tools/copykv/session.hpp"

namespace copykv::tools {
namespace {

Exit run(const Common& common, const std::string& key) {
  Client client = attach(common);
  const Result result = finish(client, client.submit_del(key, 0), common, "del");
  if (!result.ok()) throw failure_of(result, key);
  return Exit::done;
}

}  // namespace

void add_del(Commands& commands) {
  auto key = std::make_shared<std::string>();
  Command command = commands.add("del", "remove a key",
                                 [key](const Common& common) { return run(common, *key); });
  command.argument("KEY", *key, "the key");
}

}  // namespace copykv::tools
