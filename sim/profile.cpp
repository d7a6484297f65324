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
    {"post_ns", &Profile::post_ns, nullptr, nullptr},
    {"line_ns", &Profile::line_ns, nullptr, nullptr},
    {"client_ns", &Profile::client_ns, nullptr, nullptr},
    {"latency_ns", nullptr, &copyrpc::SimOptions::latency_ns, nullptr},
    {"jitter_ns", nullptr, &copyrpc::SimOptions::jitter_ns, nullptr},
    {"picos_per_byte", nullptr, &copyrpc::SimOptions::picos_per_byte, nullptr},
    {"arrival_ns", nullptr, &copyrpc::SimOptions::arrival_ns, nullptr},
    {"done_delay_ns", nullptr, &copyrpc::SimOptions::done_delay_ns, nullptr},
    {"nic_request_ns", nullptr, &copyrpc::SimOptions::nic_request_ns, nullptr},
    {"nic_picos_per_byte", nullptr, &copyrpc::SimOptions::nic_picos_per_byte, nullptr},
    {"send_queues", nullptr, nullptr, &copyrpc::SimOptions::send_queues},
    {"posts_max", nullptr, nullptr, &copyrpc::SimOptions::posts_max},
    {"receive_entries", nullptr, nullptr, &copyrpc::SimOptions::receive_entries},
};

constexpr int64_t kNumberMax = 1'000'000'000;

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
    const bool is_count = field.count_of_network != nullptr;
    if (!number || *number < (is_count ? 1 : 0) || *number > kNumberMax) {
      return fmt::format("'{}' is a whole number from {} to {}", key, is_count ? 1 : 0, kNumberMax);
    }
    if (field.own != nullptr) profile.*field.own = static_cast<uint64_t>(*number);
    if (field.of_network != nullptr) {
      profile.network.*field.of_network = static_cast<uint64_t>(*number);
    }
    if (is_count) profile.network.*field.count_of_network = static_cast<uint32_t>(*number);
    return {};
  }
  std::string known = "what";
  for (const Field& field : kFields) known += fmt::format(", {}", field.name);
  return fmt::format("'{}' is no property of a profile; there are: {}", key, known);
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
