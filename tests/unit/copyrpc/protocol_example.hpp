// SPDX-License-Identifier: Apache-2.0
// What docs/protocol.md shows of the talk between ranks, as the code makes it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/unit/shm/protocol_document.hpp"

namespace copykv::test {

using Examples = std::map<std::string, Bytes>;

[[nodiscard]] inline Bytes bytes_of(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

/// Cards, and what two ranks write into each other's memory while clients use keys of both.
void show_ranks(Examples& examples);
/// What ranks say when they meet: over TCP, and in files.
void show_rendezvous(Examples& examples);

/// By struct: offset, bytes and name of each field, in order.
[[nodiscard]] std::map<std::string, std::vector<Cells>> wire_fields();
/// By enum: number and name.
[[nodiscard]] std::map<std::string, std::vector<Cells>> wire_values();

}  // namespace copykv::test
