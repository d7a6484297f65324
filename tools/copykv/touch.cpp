// SPDX-License-Identifier: Apache-2.0
// copykv touch KEY TTL: replaces the expiry of a key.
#include <memory>

#include "tools/copykv/session.hpp"

namespace copykv::tools {
namespace {

struct Arguments {
  std::string key;
  std::string ttl;
};

Exit run(const Common& common, const Arguments& arguments) {
  const uint32_t ttl_ms = parse_ttl_ms(arguments.ttl);
  Client client = attach(common);
  const Status submitted = client.submit_touch(arguments.key, ttl_ms, 0);
  const Result result = finish(client, submitted, common, "touch");
  if (!result.ok()) throw failure_of(result, arguments.key);
  return Exit::done;
}

}  // namespace

void add_touch(Commands& commands) {
  auto arguments = std::make_shared<Arguments>();
  Command command =
      commands.add("touch", "set how long a key lives from now",
                   [arguments](const Common& common) { return run(common, *arguments); });
  command.argument("KEY", arguments->key, "the key");
  command.argument("TTL", arguments->ttl, "90s, 500ms, ...; 0: for ever");
}

}  // namespace copykv::tools
