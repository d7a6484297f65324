// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/json_lines.hpp"

#include <fmt/format.h>

#include <utility>

#include <nlohmann/json.hpp>

#include "tools/copykv/base64.hpp"
#include "tools/copykv/utf8.hpp"

namespace copykv::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kExpected =
    R"(expected {"key": "...", "value": "..."} with an optional "flags": 0..4294967295)";

Failure malformed(std::string_view what) {
  return Failure{fmt::format("{}; {}", what, kExpected)};
}

Outcome<std::string> bytes_of(const Json& field, std::string_view name, Encoding encoding) {
  if (!field.is_string()) return malformed(fmt::format("\"{}\" is no string", name));
  const auto& text = field.get_ref<const std::string&>();
  if (encoding == Encoding::utf8) return text;
  auto bytes = base64_decode(text);
  if (!bytes) {
    return malformed(fmt::format("\"{}\" is no base64 (was it dumped without --base64?)", name));
  }
  return std::move(*bytes);
}

}  // namespace

Outcome<Record> parse_record(std::string_view line, Encoding encoding) {
  const Json object = Json::parse(line, nullptr, false);
  if (object.is_discarded()) return malformed("this is no JSON");
  if (!object.is_object()) return malformed("this is no JSON object");
  Record record;
  bool has_key = false;
  bool has_value = false;
  for (const auto& [name, field] : object.items()) {
    if (name == "key" || name == "value") {
      auto bytes = bytes_of(field, name, encoding);
      if (!bytes) return Failure{bytes.error};
      (name == "key" ? record.key : record.value) = std::move(*bytes);
      (name == "key" ? has_key : has_value) = true;
    } else if (name == "flags") {
      if (!field.is_number_unsigned() || field.get<uint64_t>() > UINT32_MAX) {
        return malformed("\"flags\" is no 32-bit number");
      }
      record.flags = field.get<uint32_t>();
    } else {
      return malformed(fmt::format("unknown field \"{}\"", name));
    }
  }
  if (!has_key) return malformed("there is no \"key\"");
  if (!has_value) return malformed("there is no \"value\"");
  return record;
}

std::optional<std::string> format_record(std::string_view key, std::string_view value,
                                         uint32_t flags, Encoding encoding) {
  Json object;
  if (encoding == Encoding::base64) {
    object = {{"key", base64_encode(key)}, {"value", base64_encode(value)}};
  } else {
    if (!is_utf8(key) || !is_utf8(value)) return std::nullopt;
    object = {{"key", key}, {"value", value}};
  }
  if (flags != 0) object["flags"] = flags;
  return object.dump() + "\n";
}

}  // namespace copykv::tools
