// SPDX-License-Identifier: Apache-2.0
// What all commands share: the settings, the exit codes, and how one is registered.
//
// ERRORS  A command ends early by throwing Failed; main prints its line and exits with its code.
//   Each command declares its own arguments in its add_... function and is run by main when it was
//   the one given.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace CLI {
class App;
}

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

/// The command that was given on the command line, once it is parsed.
struct Chosen {
  std::function<Exit(const Common&)> run{};
};

/// Adds a command; `run` is called after the whole command line has been parsed.
CLI::App* add_command(CLI::App& app, Chosen& chosen, const char* name, const char* description,
                      std::function<Exit(const Common&)> run);

void add_get(CLI::App& app, Chosen& chosen);
void add_put(CLI::App& app, Chosen& chosen);
void add_del(CLI::App& app, Chosen& chosen);
void add_exists(CLI::App& app, Chosen& chosen);
void add_add(CLI::App& app, Chosen& chosen);
void add_touch(CLI::App& app, Chosen& chosen);
void add_load(CLI::App& app, Chosen& chosen);
void add_dump(CLI::App& app, Chosen& chosen);
void add_stat(CLI::App& app, Chosen& chosen);
void add_top(CLI::App& app, Chosen& chosen);
void add_ping(CLI::App& app, Chosen& chosen);
void add_info(CLI::App& app, Chosen& chosen);
void add_doctor(CLI::App& app, Chosen& chosen);

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
