// SPDX-License-Identifier: Apache-2.0
// copykv get KEY: the bytes of the value, as they are.
#include <unistd.h>

#include <memory>

#include "tools/copykv/session.hpp"

namespace copykv::tools {
namespace {

struct Arguments {
  std::string key;
  bool newline = false;
};

Exit run(const Common& common, const Arguments& arguments) {
  Client client = attach(common);
  const Status submitted = client.submit_get(arguments.key, 0);
  const Result result = finish(client, submitted, common, "get");
  if (!result.ok()) throw failure_of(result, arguments.key);
  write_out(result.value);
  // A person reads better with a line end; a program wants the value and nothing else.
  if (arguments.newline || ::isatty(STDOUT_FILENO) == 1) write_out("\n");
  flush_out();
  return Exit::done;
}

}  // namespace

void add_get(Commands& commands) {
  auto arguments = std::make_shared<Arguments>();
  Command command =
      commands.add("get", "print the value of a key, byte for byte",
                   [arguments](const Common& common) { return run(common, *arguments); });
  command.argument("KEY", arguments->key, "the key");
  command.flag("--newline", arguments->newline,
               "end with a newline, also when stdout is no terminal");
}

}  // namespace copykv::tools
