// SPDX-License-Identifier: Apache-2.0
// benchkv: picks the command; run is the default.
#include <fmt/format.h>

#include <cstdio>
#include <string_view>
#include <vector>

#include "bench/commands.hpp"

namespace copykv::bench {
namespace {

int usage_error(std::string_view line) {
  fmt::print(stderr, "benchkv: {}\n", line);
  return kExitUsage;
}

int dispatch(int argc, const char* const* argv) {
  const std::string_view command = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
  std::vector<const char*> rest(argv, argv + argc);
  if (!command.empty()) rest.erase(rest.begin() + 1);
  const int rest_count = static_cast<int>(rest.size());
  if (command == "fit") return fit_command(rest_count, rest.data());
  if (command == "reproduce") return reproduce_command(rest_count, rest.data());
  if (command == "compare") return compare_command(rest_count, rest.data());
  if (command == "model") return model_command(rest_count, rest.data());
  if (command == "plan") return plan_command(rest_count, rest.data());
  if (command == "report") return report_command(rest_count, rest.data());
  if (command == "sweep") return sweep_command(rest_count, rest.data());
  if (command.empty() || command == "run") return run_command(rest_count, rest.data());
  return usage_error(
      fmt::format("no command '{}'; known are run (the default), sweep, reproduce, report, "
                  "model, plan, compare and fit",
                  command));
}

}  // namespace
}  // namespace copykv::bench

int main(int argc, char** argv) {
  return copykv::bench::dispatch(argc, argv);
}
