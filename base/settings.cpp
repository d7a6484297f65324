// SPDX-License-Identifier: Apache-2.0
// The kinds of settings: how each is parsed, spelled and written to JSON.
#include "base/settings.hpp"

#include <fmt/format.h>

#include <type_traits>

#include "base/units.hpp"

namespace copykv {
namespace {

using Values = std::vector<std::string>;
using Assign = std::function<Outcome<void>(const Values&)>;

// An Assign for one number: `parse` reads it, `spell` writes the limits for the error line.
template <class T, class Parse, class Spell>
Assign number_assign(T& target, Limits<T> limits, Parse parse, Spell spell) {
  return [&target, limits, parse, spell](const Values& values) -> Outcome<void> {
    auto parsed = parse(values.back());
    if (!parsed) return Failure{parsed.error};
    const auto number = *parsed;
    if (number < limits.min || number > limits.max) {
      return Failure{fmt::format("'{}' is outside {} to {}", values.back(), spell(limits.min),
                                 spell(limits.max))};
    }
    target = static_cast<T>(number);
    return {};
  };
}

Outcome<bool> parse_bool(const std::string& text) {
  if (text == "true" || text == "1" || text == "on" || text == "yes") return true;
  if (text == "false" || text == "0" || text == "off" || text == "no") return false;
  return Failure{fmt::format("'{}' is neither true nor false", text)};
}

std::string join(const Values& values, std::string_view separator) {
  std::string text;
  for (const auto& value : values) {
    if (&value != values.data()) text += separator;
    text += value;
  }
  return text;
}

}  // namespace

std::string json_quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {  // TOML wants DEL escaped too
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

void Settings::add(std::string name, std::string& target, const std::string& description,
                   const Check& check) {
  Setting setting;
  setting.assign = [&target, check](const Values& values) -> Outcome<void> {
    if (check) {
      if (auto checked = check(values.back()); !checked) return checked;
    }
    target = values.back();
    return {};
  };
  setting.text = [&target] { return target; };
  setting.json = [&target] { return json_quote(target); };
  register_option(std::move(name), description, "TEXT", std::move(setting));
}

void Settings::add(std::string name, uint32_t& target, const std::string& description,
                   Limits<uint32_t> limits) {
  Setting setting;
  setting.assign = number_assign(
      target, limits, [](const std::string& text) { return parse_count(text, UINT32_MAX); },
      [](uint32_t limit) { return std::to_string(limit); });
  setting.text = setting.json = [&target] { return std::to_string(target); };
  register_option(std::move(name), description, "N", std::move(setting));
}

void Settings::add(std::string name, uint64_t& target, const std::string& description,
                   Limits<uint64_t> limits) {
  Setting setting;
  setting.assign = number_assign(
      target, limits, [](const std::string& text) { return parse_count(text); },
      [](uint64_t limit) { return std::to_string(limit); });
  setting.text = setting.json = [&target] { return std::to_string(target); };
  register_option(std::move(name), description, "N", std::move(setting));
}

void Settings::add(std::string name, double& target, const std::string& description,
                   Limits<double> limits) {
  const auto spell = [](double number) { return fmt::format("{}", number); };
  Setting setting;
  setting.assign = number_assign(
      target, limits, [](const std::string& text) { return parse_number(text); }, spell);
  setting.text = setting.json = [&target, spell] { return spell(target); };
  register_option(std::move(name), description, "NUMBER", std::move(setting));
}

void Settings::add(std::string name, bool& target, const std::string& description) {
  Setting setting;
  setting.assign = [&target](const Values& values) -> Outcome<void> {
    auto parsed = parse_bool(values.back());
    if (!parsed) return Failure{parsed.error};
    target = *parsed;
    return {};
  };
  setting.text = setting.json = [&target] { return std::string(target ? "true" : "false"); };
  register_option(std::move(name), description, "", std::move(setting));
}

void Settings::add(std::string name, std::vector<std::string>& target,
                   const std::string& description, const Check& check_each) {
  Setting setting;
  setting.is_list = true;
  setting.assign = [&target, check_each](const Values& values) -> Outcome<void> {
    for (const auto& value : values) {
      if (!check_each) break;
      if (auto checked = check_each(value); !checked) return checked;
    }
    target = values;
    return {};
  };
  setting.text = [&target] { return join(target, ","); };
  setting.json = [&target] {
    Values quoted;
    for (const auto& value : target) quoted.push_back(json_quote(value));
    return "[" + join(quoted, ", ") + "]";
  };
  register_option(std::move(name), description, "TEXT (repeatable)", std::move(setting));
}

void Settings::add_bytes(std::string name, uint64_t& target, const std::string& description,
                         Limits<uint64_t> limits) {
  Setting setting;
  setting.assign = number_assign(
      target, limits, [](const std::string& text) { return parse_bytes(text); }, spell_bytes);
  setting.text = [&target] { return spell_bytes(target); };
  setting.json = [&target] { return std::to_string(target); };
  register_option(std::move(name), description, "BYTES", std::move(setting));
}

void Settings::add_duration(std::string name, uint64_t& target_ns, const std::string& description,
                            uint64_t bare_unit_ns, Limits<uint64_t> limits_ns) {
  Setting setting;
  setting.assign = number_assign(
      target_ns, limits_ns,
      [bare_unit_ns](const std::string& text) { return parse_duration_ns(text, bare_unit_ns); },
      spell_duration);
  setting.text = [&target_ns] { return spell_duration(target_ns); };
  setting.json = [&target_ns, bare_unit_ns] {
    return fmt::format("{}", static_cast<double>(target_ns) / static_cast<double>(bare_unit_ns));
  };
  register_option(std::move(name), description, "DURATION", std::move(setting));
}

}  // namespace copykv
