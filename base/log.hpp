// SPDX-License-Identifier: Apache-2.0
// One line per event on stderr: `copykvd[rank 0]: warn: huge pages refused, using 4 KiB pages`.
//
// For set-up, attachments and faults; never on the data path. Each line is one write(2), so lines
// of several threads and processes do not mix. Thread-safe after set_log_name.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"

namespace copykv {

enum class LogLevel : uint8_t { error, warn, info, debug };

/// What begins each line, "copykvd[rank 0]". Call before other threads start.
void set_log_name(std::string name);
/// Lines above this level are dropped. The default is $COPYKV_LOG, else warn.
void set_log_level(LogLevel level) noexcept;
[[nodiscard]] LogLevel log_level() noexcept;
/// "error", "warn", "info" or "debug".
[[nodiscard]] Outcome<LogLevel> parse_log_level(std::string_view text);

/// Writes the line without asking for the level.
void write_log_line(LogLevel level, std::string_view text);

template <class... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (level <= log_level()) write_log_line(level, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log(LogLevel::error, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_warn(fmt::format_string<Args...> format, Args&&... args) {
  log(LogLevel::warn, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log(LogLevel::info, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  log(LogLevel::debug, format, std::forward<Args>(args)...);
}

}  // namespace copykv
