// SPDX-License-Identifier: Apache-2.0
// copykv add KEY N: adds to a decimal number and prints the sum.
#include <fmt/format.h>

#include <memory>

#include "tools/copykv/session.hpp"

namespace copykv::tools {
namespace {

struct Arguments {
  std::string key;
  int64_t delta = 0;
};

Exit run(const Common& common, const Arguments& arguments) {
  Client client = attach(common);
  const Status submitted = client.submit_add(arguments.key, arguments.delta, 0);
  const Result result = finish(client, submitted, common, "add");
  if (!result.ok()) throw failure_of(result, arguments.key);
  write_out(fmt::format("{}\n", result.number));
  flush_out();
  return Exit::done;
}

}  // namespace

void add_add(Commands& commands) {
  auto arguments = std::make_shared<Arguments>();
  Command command =
      commands.add("add", "add to the number stored under a key (absent: 0) and print the sum",
                   [arguments](const Common& common) { return run(common, *arguments); });
  command.argument("KEY", arguments->key, "the key");
  command.argument("N", arguments->delta, "signed 64-bit number to add");
}

}  // namespace copykv::tools
