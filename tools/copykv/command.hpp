// SPDX-License-Identifier: Apache-2.0
// What all commands share: the settings, the exit codes, and how one is registered.
//
// ERRORS    A command ends early by throwing Failed; main prints its line and exits with its code.
// COMMANDS  Each declares its arguments in its add_... function; main runs the one that was given.
//   Only command.cpp and main.cpp know the parser, which takes seconds to compile.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace copykv::tools {

/// Part of the promise to scripts (docs/operations.md).
enum class Exit : int {
  done = 0,
  no_key = 1,     ///< no such key, or the condition of a put is not met
  usage = 2,      ///< the command line is wrong
  no_daemon = 3,  ///< no daemon, or the connection was lost
  error = 4,      ///< anything else
};

/// `line` names what failed and the remedy; no newline, no program name.
class Failed : public std::runtime_error {
 public:
  Failed(Exit exit, const std::string& line) : std::runtime_error(line), exit_(exit) {}
  [[nodiscard]] Exit exit() const noexcept { return exit_; }

 private:
  Exit exit_;
};

/// The settings that come before the command.
struct Common {
  std::string runtime_dir;
  std::string job = "default";
  uint32_t rank = 0;
  uint64_t timeout_ns = 5'000'000'000;

  [[nodiscard]] uint64_t timeout_ms() const noexcept { return (timeout_ns + 999'999) / 1'000'000; }
};

/// One command's part of the command line. Targets must live until the command has run.
class Command {
 public:
  explicit Command(CLI::App& app) : app_(&app) {}

  /// Required, in the order of the calls.
  void argument(const char* name, std::string& target, const char* description);
  void argument(const char* name, int64_t& target, const char* description);
  void option(const char* name, std::string& target, const char* description);
  void option(const char* name, uint32_t& target, const char* description);
  void option(const char* name, uint64_t& target, const char* description);
  void option(const char* name, std::optional<uint64_t>& target, const char* description);
  void flag(const char* name, bool& target, const char* description);
  /// At most one of these options may be given.
  void only_one_of(std::initializer_list<const char*> names);

 private:
  template <class Parse, class T>
  CLI::Option* number(const char* name, Parse parse, T& target, const char* description);

  CLI::App* app_;
};

/// All commands, and the one that the command line names.
class Commands {
 public:
  explicit Commands(CLI::App& app) : app_(app) {}

  using Run = std::function<Exit(const Common&)>;
  [[nodiscard]] Command add(const char* name, const char* description, Run run);
  /// Once the command line is parsed; empty when it names no command.
  [[nodiscard]] const Run& chosen() const noexcept { return chosen_; }

 private:
  CLI::App& app_;
  Run chosen_{};
};

void add_get(Commands& commands);
void add_put(Commands& commands);
void add_del(Commands& commands);
void add_exists(Commands& commands);
void add_add(Commands& commands);
void add_touch(Commands& commands);
void add_load(Commands& commands);
void add_dump(Commands& commands);
void add_stat(Commands& commands);
void add_top(Commands& commands);
void add_ping(Commands& commands);
void add_info(Commands& commands);
void add_doctor(Commands& commands);

/// A time to live as typed ("90s", "500ms"; a bare number counts seconds; 0: never expires).
/// Fails with Exit::usage unless it is a whole number of milliseconds below 2^32.
[[nodiscard]] uint32_t parse_ttl_ms(std::string_view text);

/// A key as it can stand in an error line: control characters and bytes that are no UTF-8 as \xNN,
/// the rest as it is, long ones cut.
[[nodiscard]] std::string show_key(std::string_view key);

/// Writes to stdout; fails when it is full or closed.
void write_out(std::string_view bytes);
/// Ends what write_out wrote: the last moment at which a full disk can be noticed.
void flush_out();

}  // namespace copykv::tools
