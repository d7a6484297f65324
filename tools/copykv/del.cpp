// SPDX-License-Identifier: Apache-2.0
// copykv del KEY: removes a key.
#include <memory>

#include <CLI/CLI.hpp>

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

void add_del(CLI::App& app, Chosen& chosen) {
  auto key = std::make_shared<std::string>();
  CLI::App* command = add_command(app, chosen, "del", "remove a key",
                                  [key](const Common& common) { return run(common, *key); });
  command->add_option("KEY", *key, "the key")->required();
}

}  // namespace copykv::tools
