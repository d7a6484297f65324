// SPDX-License-Identifier: Apache-2.0
// The format of `copykv load` and `copykv dump`: one JSON object a line.
//
//   {"key":"greeting","value":"hello"}
//   {"key":"greeting","value":"hello","flags":7}     user flags, when they are not 0
//   {"key":"Z3JlZXRpbmc=","value":"aGVsbG8="}        with --base64: key and value, both
//
// Without --base64 the bytes of key and value are the UTF-8 of the JSON strings.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace copykv::tools {

struct Record {
  std::string key;
  std::string value;
  uint32_t flags = 0;
};

enum class Encoding : uint8_t { utf8, base64 };

/// Fails with what is wrong and what is expected; the caller knows file and line.
[[nodiscard]] Outcome<Record> parse_record(std::string_view line, Encoding encoding);

/// One line, with its newline. Nothing when key or value is no UTF-8 and `encoding` wants it.
[[nodiscard]] std::optional<std::string> format_record(std::string_view key, std::string_view value,
                                                       uint32_t flags, Encoding encoding);

}  // namespace copykv::tools
