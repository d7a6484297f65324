// SPDX-License-Identifier: Apache-2.0
// What docs/protocol.md shows, as the code makes it: bytes of examples, and rows of tables.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace copykv::test {

using Bytes = std::vector<std::byte>;
using Cells = std::vector<std::string>;

/// By name of the hex block.
[[nodiscard]] std::map<std::string, Bytes> protocol_examples();
/// By struct: offset, bytes and name of each field, in order.
[[nodiscard]] std::map<std::string, std::vector<Cells>> protocol_fields();
/// By enum: number and name.
[[nodiscard]] std::map<std::string, std::vector<Cells>> protocol_values();

}  // namespace copykv::test
