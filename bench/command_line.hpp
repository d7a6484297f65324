// SPDX-License-Identifier: Apache-2.0
// What the commands of benchkv that have flags of their own do alike.
#pragma once

#include <optional>
#include <string_view>

#include <CLI/CLI.hpp>

#include "bench/options.hpp"

namespace copykv::bench {

/// One line on stderr; returns the exit code, which an interrupt takes precedence over.
[[nodiscard]] int fail(std::string_view line, int code = kExitRunFailed);

/// The exit code after --help or a mistake; nothing: go on.
[[nodiscard]] std::optional<int> parse_command_line(CLI::App& app, int argc,
                                                    const char* const* argv);

}  // namespace copykv::bench
