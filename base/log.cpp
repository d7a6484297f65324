// SPDX-License-Identifier: Apache-2.0
#include "base/log.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/atomics.hpp"

namespace copykv {
namespace {

constexpr std::string_view kLevelNames[] = {"error", "warn", "info", "debug"};

LogLevel level_from_environment() noexcept {
  const char* text = std::getenv("COPYKV_LOG");
  if (text != nullptr) {
    for (size_t i = 0; i < std::size(kLevelNames); ++i) {
      if (kLevelNames[i] == text) return static_cast<LogLevel>(i);
    }
  }
  return LogLevel::warn;
}

LogLevel& level_word() noexcept {
  static LogLevel level = level_from_environment();
  return level;
}

std::string& name_word() {
  static std::string name = "copykv";
  return name;
}

}  // namespace

void set_log_name(std::string name) {
  name_word() = std::move(name);
}
void set_log_level(LogLevel level) noexcept {
  poke(level_word(), level);
}
LogLevel log_level() noexcept {
  return peek(level_word());
}

Outcome<LogLevel> parse_log_level(std::string_view text) {
  for (size_t i = 0; i < std::size(kLevelNames); ++i) {
    if (kLevelNames[i] == text) return static_cast<LogLevel>(i);
  }
  return Failure{fmt::format("'{}' is none of error|warn|info|debug", text)};
}

void write_log_line(LogLevel level, std::string_view text) {
  const std::string line =
      fmt::format("{}: {}: {}\n", name_word(), kLevelNames[static_cast<uint8_t>(level)], text);
  const int saved_errno = errno;
  // A log that cannot be written (closed stderr, full disk) must not stop the program.
  [[maybe_unused]] const auto written = write(STDERR_FILENO, line.data(), line.size());
  errno = saved_errno;
}

}  // namespace copykv
