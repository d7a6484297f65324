// SPDX-License-Identifier: Apache-2.0
// copykv put KEY VALUE: stores a value, under a condition.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include "tools/copykv/session.hpp"

namespace copykv::tools {
namespace {

struct Arguments {
  std::string key;
  std::string value;
  std::string ttl = "0";
  uint32_t flags = 0;
  bool if_absent = false;
  bool if_present = false;
  std::optional<uint64_t> if_version{};
};

PutOptions options_of(const Arguments& arguments) {
  PutOptions options{.flags = arguments.flags, .ttl_ms = parse_ttl_ms(arguments.ttl)};
  if (arguments.if_absent) options.when = PutOptions::When::if_absent;
  if (arguments.if_present) options.when = PutOptions::When::if_present;
  if (arguments.if_version) {
    options.when = PutOptions::When::if_version;
    options.version = *arguments.if_version;
  }
  return options;
}

// All of stdin, but no more than one byte beyond `bytes_max`: endless input must end.
std::string read_stdin(uint64_t bytes_max) {
  std::string value;
  char chunk[1 << 16];
  while (value.size() <= bytes_max) {
    const ssize_t got = ::read(STDIN_FILENO, chunk, sizeof(chunk));
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw Failed(Exit::error, std::string("cannot read stdin: ") + std::strerror(errno));
    }
    value.append(chunk, static_cast<size_t>(got));
  }
  return value;
}

Exit run(const Common& common, const Arguments& arguments) {
  const PutOptions options = options_of(arguments);
  Client client = attach(common);
  const std::string value =
      arguments.value == "-" ? read_stdin(client.info().value_bytes_max) : arguments.value;
  const Status submitted = client.submit_put(arguments.key, value, 0, options);
  const Result result = finish(client, submitted, common, "put");
  if (result.status == Status::condition_failed && arguments.if_absent) {
    throw Failed(Exit::no_key,
                 "condition not met: there is a key '" + show_key(arguments.key) + "' already");
  }
  if (!result.ok()) throw failure_of(result, arguments.key);
  return Exit::done;
}

}  // namespace

void add_put(Commands& commands) {
  auto arguments = std::make_shared<Arguments>();
  Command command = commands.add("put", "store a value", [arguments](const Common& common) {
    return run(common, *arguments);
  });
  command.argument("KEY", arguments->key, "the key");
  command.argument("VALUE", arguments->value, "the value; - reads it from stdin");
  command.option("--ttl", arguments->ttl, "life from now (90s, 500ms); 0: for ever");
  command.option("--flags", arguments->flags, "32-bit number stored with the value");
  command.flag("--if-absent", arguments->if_absent, "only a new key");
  command.flag("--if-present", arguments->if_present, "only an existing key");
  command.option("--if-version", arguments->if_version, "only over this version (see exists)");
  command.only_one_of({"--if-absent", "--if-present", "--if-version"});
}

}  // namespace copykv::tools
