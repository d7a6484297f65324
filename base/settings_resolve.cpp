// SPDX-License-Identifier: Apache-2.0
// Where each setting comes from. CLI11 only splits the command line and prints the help; its own
// environment and file support would take precedence in another order than ours.
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include <CLI/CLI.hpp>

#include "base/settings.hpp"

namespace copykv {
namespace {

std::string environment_name(std::string_view name) {
  std::string text = "COPYKV_";
  for (const char c : name) {
    text += c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  return text;
}

std::string key_of(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::vector<std::string> split_at_commas(std::string_view text) {
  std::vector<std::string> parts;
  for (size_t end = text.find(','); end != std::string_view::npos; end = text.find(',')) {
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  parts.emplace_back(text);
  return parts;
}

// The text of a TOML value as it would stand on the command line; nothing for dates and tables.
std::optional<std::string> text_of(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* truth = node.as_boolean()) return std::string(truth->get() ? "true" : "false");
  return std::nullopt;
}

std::optional<std::vector<std::string>> texts_of(const toml::node& node) {
  std::vector<std::string> texts;
  const toml::array* array = node.as_array();
  if (array == nullptr) {
    auto text = text_of(node);
    if (!text) return std::nullopt;
    return std::vector<std::string>{std::move(*text)};
  }
  for (const toml::node& item : *array) {
    auto text = text_of(item);
    if (!text) return std::nullopt;
    texts.push_back(std::move(*text));
  }
  return texts;
}

}  // namespace

Settings::Settings(CLI::App& app, std::string program) : app_(app), program_(std::move(program)) {
  add("config", config_path_, "read settings from this TOML file");
  app_.add_flag("--print-config", print_config_, "print every setting and its source, then exit");
  app_.footer(
      "Precedence: flag, environment, file, default. --some-flag is COPYKV_SOME_FLAG in the\n"
      "environment and some_flag in the file given by --config.");
}

Settings::Setting& Settings::register_option(std::string name, const std::string& description,
                                             const std::string& accepted, Setting setting) {
  const std::string flag = "--" + name;
  if (accepted.empty()) {
    setting.option = app_.add_flag(flag + ",!--no-" + name, description);
  } else {
    setting.option = app_.add_option(flag, CLI::callback_t{}, description);
    const std::string shown = setting.text();
    setting.option->option_text(shown.empty() ? accepted : fmt::format("{} [{}]", accepted, shown));
  }
  setting.option->multi_option_policy(setting.is_list ? CLI::MultiOptionPolicy::TakeAll
                                                      : CLI::MultiOptionPolicy::TakeLast);
  setting.name = std::move(name);
  return settings_.emplace_back(std::move(setting));
}

Outcome<Settings::ConfigFile> Settings::read_config_file() {
  ConfigFile file;
  if (config_path_.empty()) return file;
  try {
    const toml::table table = toml::parse_file(config_path_);
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      const auto known = std::find_if(settings_.begin(), settings_.end(), [&](const Setting& one) {
        return key_of(one.name) == name && one.name != "config";
      });
      auto values = texts_of(node);
      if (known == settings_.end()) {
        return Failure{fmt::format(
            "{}: unknown setting '{}'; --print-config lists those that exist", config_path_, name)};
      }
      if (!values || (!known->is_list && values->size() != 1)) {
        return Failure{fmt::format("{}: {} takes {}", config_path_, name,
                                   known->is_list ? "an array of strings" : "one plain value")};
      }
      file.emplace_back(name, std::move(*values));
    }
  } catch (const toml::parse_error& error) {
    const auto line = error.source().begin.line;  // 0: the file could not be read at all
    const std::string place = line == 0 ? "" : fmt::format(":{}", line);
    return Failure{fmt::format("{}{}: {}", config_path_, place, error.description())};
  }
  return file;
}

Outcome<void> Settings::resolve_one(Setting& setting, const ConfigFile& file) {
  Values values;
  const std::string variable = environment_name(setting.name);
  const char* exported = std::getenv(variable.c_str());
  const auto in_file = std::find_if(file.begin(), file.end(), [&](const auto& entry) {
    return entry.first == key_of(setting.name);
  });
  if (setting.option->count() > 0) {
    values = setting.option->results();
    setting.source = "flag";
  } else if (exported != nullptr && *exported != '\0') {
    values = setting.is_list ? split_at_commas(exported) : Values{exported};
    setting.source = "environment " + variable;
  } else if (in_file != file.end()) {
    values = in_file->second;
    setting.source = "file " + config_path_;
  } else {
    return {};
  }
  auto assigned = setting.assign(values);
  if (assigned) return {};
  const std::string place = setting.source == "flag" ? "" : fmt::format(" ({})", setting.source);
  return Failure{fmt::format("--{}{}: {}", setting.name, place, assigned.error)};
}

Outcome<void> Settings::resolve() {
  // --config is the first of the list, and the file that it names holds the values of the rest.
  if (auto done = resolve_one(settings_.front(), {}); !done) return done;
  auto file = read_config_file();
  if (!file) return Failure{file.error};
  for (Setting& setting : std::span(settings_).subspan(1)) {
    if (auto done = resolve_one(setting, *file); !done) return done;
  }
  return {};
}

std::vector<Settings::Effective> Settings::effective() const {
  std::vector<Effective> list;
  for (const Setting& setting : std::span(settings_).subspan(1)) {
    list.push_back({key_of(setting.name), setting.text(), setting.json(), setting.source});
  }
  return list;
}

bool Settings::is_set(const std::string& name) const {
  return std::any_of(settings_.begin(), settings_.end(), [&](const Setting& setting) {
    return setting.name == name && setting.source != "default";
  });
}

std::string Settings::print_config() const {
  std::string text;
  for (const Setting& setting : std::span(settings_).subspan(1)) {
    // What reads differently as JSON (64MiB, 10s) is quoted as it would be typed.
    const std::string json = setting.json();
    const std::string typed = setting.text();
    const bool plain = json == typed || json.starts_with('"') || json.starts_with('[');
    text += fmt::format("{} = {}  # {}\n", key_of(setting.name), plain ? json : json_quote(typed),
                        setting.source);
  }
  return text;
}

std::optional<int> parse_command_line(CLI::App& app, int argc, const char* const* argv,
                                      std::initializer_list<Settings*> settings, FILE* out,
                                      FILE* err) {
  const std::string& program = (*settings.begin())->program_;
  const auto fail = [&](const std::string& name, std::string_view line) {
    fmt::print(err, "{}: {}\n", name, line);
    return 2;
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream shown;
    const bool asked = app.exit(error, shown, shown) == 0;
    if (!asked) return fail(program, fmt::format("{}; see --help", error.what()));
    fmt::print(out, "{}", shown.str());
    return 0;
  } catch (const std::exception& error) {
    return fail(program, error.what());
  }
  for (Settings* one : settings) {
    if (!one->app_.parsed() && &one->app_ != &app) continue;
    if (auto resolved = one->resolve(); !resolved) return fail(one->program_, resolved.error);
  }
  std::optional<int> code;
  for (const Settings* one : settings) {
    if (!one->print_config_) continue;
    fmt::print(out, "{}", one->print_config());
    code = 0;
  }
  return code;
}

}  // namespace copykv
