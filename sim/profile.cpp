// SPDX-License-Identifier: Apache-2.0
#include "sim/profile.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <fstream>
#include <limits>
#include <sstream>

namespace copykv::sim {

extern const char* const kProfilesText;  // profiles.toml, compiled in

namespace {

struct Field {
  std::string_view name;
  uint64_t Profile::*own;
  uint64_t copyrpc::SimOptions::*of_network;
  uint32_t copyrpc::SimOptions::*count_of_network;
};

constexpr Field kFields[] = {
    {"turn_ns", &Profile::turn_ns, nullptr, nullptr},
    {"item_ns", &Profile::item_ns, nullptr, nullptr},
    {"local_ns", &Profile::local_ns, nullptr, nullptr},
    {"call_ns", &Profile::call_ns, nullptr, nullptr},
    {"inbound_ns", &Profile::inbound_ns, nullptr, nullptr},
    {"answer_ns", &Profile::answer_ns, nullptr, nullptr},
    {"lane_ns", &Profile::lane_ns, nullptr, nullptr},
    {"post_ns", &Profile::post_ns, nullptr, nullptr},
    {"line_ns", &Profile::line_ns, nullptr, nullptr},
    {"client_ns", &Profile::client_ns, nullptr, nullptr},
    {"latency_ns", nullptr, &copyrpc::SimOptions::latency_ns, nullptr},
    {"jitter_ns", nullptr, &copyrpc::SimOptions::jitter_ns, nullptr},
    {"picos_per_byte", nullptr, &copyrpc::SimOptions::picos_per_byte, nullptr},
    {"arrival_ns", nullptr, &copyrpc::SimOptions::arrival_ns, nullptr},
    {"done_delay_ns", nullptr, &copyrpc::SimOptions::done_delay_ns, nullptr},
    {"receive_ns", nullptr, &copyrpc::SimOptions::receive_ns, nullptr},
    {"nic_request_ns", nullptr, &copyrpc::SimOptions::nic_request_ns, nullptr},
    {"nic_picos_per_byte", nullptr, &copyrpc::SimOptions::nic_picos_per_byte, nullptr},
    {"send_queues", nullptr, nullptr, &copyrpc::SimOptions::send_queues},
    {"posts_max", nullptr, nullptr, &copyrpc::SimOptions::posts_max},
    {"receive_entries", nullptr, nullptr, &copyrpc::SimOptions::receive_entries},
};

constexpr int64_t kNumberMax = 1'000'000'000;

bool is_count(const Field& field) {
  return field.count_of_network != nullptr;
}

void set(Profile& profile, const Field& field, uint64_t value) {
  if (field.own != nullptr) profile.*field.own = value;
  if (field.of_network != nullptr) profile.network.*field.of_network = value;
  if (is_count(field)) profile.network.*field.count_of_network = static_cast<uint32_t>(value);
}

uint64_t get(const Profile& profile, const Field& field) {
  if (field.own != nullptr) return profile.*field.own;
  if (field.of_network != nullptr) return profile.network.*field.of_network;
  return profile.network.*field.count_of_network;
}

std::string unknown(std::string_view name) {
  std::string known = "what";
  for (const Field& field : kFields) known += fmt::format(", {}", field.name);
  return fmt::format("'{}' is no property of a profile; there are: {}", name, known);
}

/// Empty, or what is wrong.
std::string set_field(Profile& profile, std::string_view key, const toml::node& value) {
  if (key == "what") {
    const auto text = value.value<std::string>();
    if (!text) return "'what' is a text";
    profile.what = *text;
    return {};
  }
  for (const Field& field : kFields) {
    if (field.name != key) continue;
    const auto number = value.value<int64_t>();
    const int64_t least = is_count(field) ? 1 : 0;
    if (!number || *number < least || *number > kNumberMax) {
      return fmt::format("'{}' is a whole number from {} to {}", key, least, kNumberMax);
    }
    set(profile, field, static_cast<uint64_t>(*number));
    return {};
  }
  return unknown(key);
}

Outcome<std::string> read_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    return Failure{fmt::format("cannot read the profile {}; give a file or a name", path)};
  }
  return text.str();
}

}  // namespace

std::vector<std::pair<std::string, uint64_t>> numbers_of(const Profile& profile) {
  std::vector<std::pair<std::string, uint64_t>> numbers;
  for (const Field& field : kFields) numbers.emplace_back(field.name, get(profile, field));
  return numbers;
}

Outcome<void> set_number(Profile& profile, std::string_view name, uint64_t value) {
  for (const Field& field : kFields) {
    if (field.name != name) continue;
    set(profile, field, value);
    return {};
  }
  return Failure{unknown(name)};
}

std::string to_toml(const Profile& profile) {
  std::string text = fmt::format("[{}]\nwhat = \"{}\"\n", profile.name, profile.what);
  for (const auto& [name, value] : numbers_of(profile)) {
    text += fmt::format("{} = {}\n", name, value);
  }
  return text;
}

Outcome<std::vector<Profile>> parse_profiles(std::string_view text, std::string_view file) {
  const auto fail = [&](const toml::source_region& where, std::string_view what) {
    return Failure{fmt::format("{}:{}: {}", file, where.begin.line, what)};
  };
  toml::table parsed;
  try {
    parsed = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return fail(error.source(), error.description());
  }
  std::vector<Profile> profiles;
  for (const auto& [name, node] : parsed) {
    const toml::table* table = node.as_table();
    if (table == nullptr) return fail(node.source(), "a profile is a table: [name]");
    Profile& profile = profiles.emplace_back();
    profile.name = std::string(name.str());
    for (const auto& [key, value] : *table) {
      const std::string wrong = set_field(profile, key.str(), value);
      if (!wrong.empty()) return fail(value.source(), wrong);
    }
  }
  if (profiles.empty()) return Failure{fmt::format("{}: no profile in it: [name]", file)};
  return profiles;
}

Outcome<Profile> load_profile(std::string_view name) {
  const bool is_file = name.find('/') != std::string_view::npos || name.ends_with(".toml");
  std::string text = kProfilesText;
  if (is_file) {
    auto read = read_file(std::string(name));
    if (!read) return Failure{read.error};
    text = std::move(*read);
  }
  auto profiles = parse_profiles(text, is_file ? name : "profiles.toml");
  if (!profiles) return Failure{profiles.error};
  if (is_file) return std::move(profiles->front());
  std::string known;
  for (Profile& profile : *profiles) {
    if (profile.name == name) return std::move(profile);
    known += fmt::format("{}{}", known.empty() ? "" : ", ", profile.name);
  }
  return Failure{
      fmt::format("'{}' is no profile; there are: {}; or give a .toml file", name, known)};
}

}  // namespace copykv::sim
