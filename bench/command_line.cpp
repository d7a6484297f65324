// SPDX-License-Identifier: Apache-2.0
#include "bench/command_line.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "bench/interrupt.hpp"

namespace copykv::bench {

int fail(std::string_view line, int code) {
  fmt::print(stderr, "benchkv: {}\n", line);
  return interrupted() ? int{kExitInterrupted} : code;
}

std::optional<int> parse_command_line(CLI::App& app, int argc, const char* const* argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    return fail(error.what(), kExitUsage);
  }
  return std::nullopt;
}

}  // namespace copykv::bench
