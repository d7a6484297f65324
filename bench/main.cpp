// SPDX-License-Identifier: Apache-2.0
// benchkv: picks the command; run is the default.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <vector>

#include "bench/commands.hpp"

namespace copykv::bench {
namespace {

struct Command {
  std::string_view name;
  int (*run)(int argc, const char* const* argv);
};
constexpr std::array<Command, 8> kCommands = {{{"run", run_command},
                                               {"sweep", sweep_command},
                                               {"compare", compare_command},
                                               {"model", model_command},
                                               {"plan", plan_command},
                                               {"report", report_command},
                                               {"fit", fit_command},
                                               {"reproduce", reproduce_command}}};

int dispatch(int argc, const char* const* argv) {
  const bool named = argc > 1 && argv[1][0] != '-';
  const std::string_view name = named ? argv[1] : "run";
  std::vector<const char*> rest(argv, argv + argc);
  if (named) rest.erase(rest.begin() + 1);
  const auto* const found =
      std::find_if(kCommands.begin(), kCommands.end(),
                   [&](const Command& command) { return command.name == name; });
  if (found != kCommands.end()) return found->run(static_cast<int>(rest.size()), rest.data());
  fmt::print(stderr,
             "benchkv: no command '{}'; known are run (the default), sweep, compare, model, plan, "
             "report, fit and reproduce\n",
             name);
  return kExitUsage;
}

}  // namespace
}  // namespace copykv::bench

int main(int argc, char** argv) {
  return copykv::bench::dispatch(argc, argv);
}
