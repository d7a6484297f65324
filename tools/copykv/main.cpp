// SPDX-License-Identifier: Apache-2.0
// copykv: the command line of a copykv daemon.
#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>

#include "base/runtime_paths.hpp"
#include "base/settings.hpp"
#include "tools/copykv/command.hpp"

namespace copykv::tools {
namespace {

int run(int argc, const char* const* argv) {
  CLI::App app("copykv: reads, writes and watches the shared map of a copykvd", "copykv");
  Common common;
  common.runtime_dir = runtime_dir();
  Settings settings(app, "copykv");
  settings.add("runtime-dir", common.runtime_dir, "directory of the daemons' sockets");
  settings.add("job", common.job, "name of the job", check_job_name);
  settings.add("rank", common.rank, "rank of this machine to talk to");
  settings.add_duration("timeout", common.timeout_ns, "longest wait for one answer",
                        kNanosPerSecond, {kNanosPerMilli, 3600 * kNanosPerSecond});
  app.set_version_flag("--version", "copykv " COPYKV_VERSION);
  app.footer(
      "Exit: 0 done, 1 no such key or condition not met, 2 usage, 3 no daemon or connection\n"
      "lost, 4 any other error.\n" +
      app.get_footer());
  // At most one: behind the command, a key may be called as a command is.
  app.require_subcommand(0, 1);

  Commands commands(app);
  add_get(commands);
  add_put(commands);
  add_del(commands);
  add_exists(commands);
  add_add(commands);
  add_touch(commands);
  add_load(commands);
  add_dump(commands);
  add_stat(commands);
  add_top(commands);
  add_ping(commands);
  add_info(commands);
  add_doctor(commands);

  if (const auto code = parse_command_line(app, argc, argv, {&settings})) return *code;
  if (!commands.chosen()) throw Failed(Exit::usage, "no command given; see copykv --help");
  return static_cast<int>(commands.chosen()(common));
}

}  // namespace
}  // namespace copykv::tools

int main(int argc, char** argv) {
  using copykv::tools::Exit;
  Exit exit = Exit::error;
  try {
    return copykv::tools::run(argc, argv);
  } catch (const copykv::tools::Failed& failed) {
    exit = failed.exit();
    fmt::print(stderr, "copykv: {}\n", failed.what());
  } catch (const std::exception& error) {
    fmt::print(stderr, "copykv: {}\n", error.what());
  }
  return static_cast<int>(exit);
}
