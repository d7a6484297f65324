// SPDX-License-Identifier: Apache-2.0
// The options of a program: registered once, then taken from the command line, the environment, a
// TOML file or the default, in this order of precedence.
//
//   CLI::App app("copykvd: serves a shared map");
//   Settings settings(app, "copykvd");
//   settings.add_bytes("memory", options.memory_bytes, "limit of the stored data");
//   if (auto code = parse_command_line(app, argc, argv, {&settings})) return *code;
//
// NAMES   "memory-limit" is --memory-limit, COPYKV_MEMORY_LIMIT and the TOML key memory_limit.
// TARGET  the variable given holds the default when it is registered and the effective value after
//   parse_command_line. It must outlive that call, as must the App.
// ADDED   to every App: --config FILE (a TOML file of plain keys) and --print-config.
// ERRORS  one line on stderr that names the setting, the value and what is accepted; exit code 2.
// SUBCOMMANDS  have a Settings each (it takes the App that add_subcommand returns); only those that
//   appear on the command line are resolved.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace copykv {

/// Both ends are allowed.
template <class T>
struct Limits {
  T min = std::numeric_limits<T>::lowest();
  T max = std::numeric_limits<T>::max();
};

class Settings {
 public:
  using Check = std::function<Outcome<void>(const std::string&)>;

  /// `program` begins every error line.
  Settings(CLI::App& app, std::string program);
  Settings(const Settings&) = delete;
  Settings& operator=(const Settings&) = delete;

  void add(std::string name, std::string& target, const std::string& description,
           const Check& check = {});
  void add(std::string name, uint32_t& target, const std::string& description,
           Limits<uint32_t> = {});
  void add(std::string name, uint64_t& target, const std::string& description,
           Limits<uint64_t> = {});
  void add(std::string name, double& target, const std::string& description, Limits<double> = {});
  /// --name, --name=false, --no-name.
  void add(std::string name, bool& target, const std::string& description);
  /// Repeatable on the command line, an array in TOML, separated by commas in the environment.
  void add(std::string name, std::vector<std::string>& target, const std::string& description,
           const Check& check_each = {});
  void add_bytes(std::string name, uint64_t& target, const std::string& description,
                 Limits<uint64_t> = {});
  /// A bare number counts `bare_unit_ns`.
  void add_duration(std::string name, uint64_t& target_ns, const std::string& description,
                    uint64_t bare_unit_ns = kNanosPerSecond, Limits<uint64_t> limits_ns = {});
  /// One of the names; `E` is an enum (or anything comparable).
  template <class E>
  void add_choice(std::string name, E& target, const std::string& description,
                  std::vector<std::pair<std::string, E>> choices);

  /// What a setting came to, after parse_command_line.
  struct Effective {
    std::string key;     ///< snake_case
    std::string text;    ///< as one would type it; list items separated by commas
    std::string json;    ///< a JSON literal: bytes and durations (in their bare unit) as numbers
    std::string source;  ///< flag | environment COPYKV_X | file NAME | default
  };
  [[nodiscard]] std::vector<Effective> effective() const;
  /// Whether a flag, the environment or a file gave it.
  [[nodiscard]] bool is_set(const std::string& name) const;
  /// As TOML that --config takes: `key = value  # source`.
  [[nodiscard]] std::string print_config() const;

 private:
  friend std::optional<int> parse_command_line(CLI::App&, int, const char* const*,
                                               std::initializer_list<Settings*>, FILE*, FILE*);
  using Values = std::vector<std::string>;
  struct Setting {
    std::string name;
    CLI::Option* option = nullptr;
    bool is_list = false;
    std::function<Outcome<void>(const Values&)> assign;
    std::function<std::string()> text;  // of the target
    std::function<std::string()> json;
    std::string source = "default";
  };
  using ConfigFile = std::vector<std::pair<std::string, Values>>;

  Setting& register_option(std::string name, const std::string& description,
                           const std::string& accepted, Setting setting);
  [[nodiscard]] Outcome<void> resolve();
  [[nodiscard]] Outcome<void> resolve_one(Setting& setting, const ConfigFile& file);
  [[nodiscard]] Outcome<ConfigFile> read_config_file();

  CLI::App& app_;
  std::string program_;
  std::string config_path_{};
  bool print_config_ = false;
  std::vector<Setting> settings_{};
};

/// Parses the command line and resolves every Settings whose App took part in it. Empty: go on.
/// Else the program ends with this code: 0 after --help and --print-config, 2 after an error, which
/// has been printed. Nothing throws past it.
[[nodiscard]] std::optional<int> parse_command_line(CLI::App& app, int argc,
                                                    const char* const* argv,
                                                    std::initializer_list<Settings*> settings,
                                                    FILE* out = stdout, FILE* err = stderr);

/// A JSON string literal, quotes included.
[[nodiscard]] std::string json_quote(std::string_view text);

// ---- add_choice

template <class E>
void Settings::add_choice(std::string name, E& target, const std::string& description,
                          std::vector<std::pair<std::string, E>> choices) {
  std::string accepted;
  for (const auto& choice : choices) accepted += (accepted.empty() ? "" : "|") + choice.first;
  Setting setting;
  setting.assign = [&target, choices, accepted](const Values& values) -> Outcome<void> {
    for (const auto& [choice, value] : choices) {
      if (choice != values.back()) continue;
      target = value;
      return {};
    }
    return Failure{"'" + values.back() + "' is none of " + accepted};
  };
  setting.text = [&target, choices] {
    for (const auto& [choice, value] : choices) {
      if (value == target) return choice;
    }
    return std::string();
  };
  setting.json = [text = setting.text] { return json_quote(text()); };
  register_option(std::move(name), description, accepted, std::move(setting));
}

}  // namespace copykv
