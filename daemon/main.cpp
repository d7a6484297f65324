// SPDX-License-Identifier: Apache-2.0
// copykvd: serves a shared map to the processes of this machine.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/log.hpp"
#include "base/program.hpp"
#include "daemon/control.hpp"

namespace copykv {
namespace {

int serve(int argc, char** argv) {
  CLI::App app("copykvd: serves a shared map to the processes of this machine");
  DaemonOptions options;
  Settings settings(app, "copykvd");
  add_settings(settings, options);
  if (const auto code = parse_command_line(app, argc, argv, {&settings})) return *code;
  set_log_name(fmt::format("copykvd[rank {}]", options.rank));

  const auto fail = [](const std::string& line, int code) {
    write_log_line(LogLevel::error, line);
    return code;
  };
  if (const auto followed = follow_launcher(settings, options); !followed) {
    return fail(followed.error, 2);
  }
  set_log_name(fmt::format("copykvd[rank {}]", options.rank));
  if (const auto checked = check_options(options); !checked) return fail(checked.error, 2);
  if (const auto checked = check_machine(options); !checked) return fail(checked.error, 1);
  auto control = Control::create(options);
  if (!control) return fail(control.error, 1);
  (*control)->run();
  return 0;
}

}  // namespace
}  // namespace copykv

int main(int argc, char** argv) {
  return copykv::run_program("copykvd", copykv::serve, argc, argv);
}
