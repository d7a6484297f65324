// SPDX-License-Identifier: Apache-2.0
// What docs/protocol.md shows, as the code makes it: bytes of examples, and rows of tables.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/unit/shm/protocol_document.hpp"

namespace copykv::test {

/// By name of the hex block.
[[nodiscard]] std::map<std::string, Bytes> protocol_examples();
/// By struct: offset, bytes and name of each field, in order.
[[nodiscard]] std::map<std::string, std::vector<Cells>> protocol_fields();
/// By enum: number and name.
[[nodiscard]] std::map<std::string, std::vector<Cells>> protocol_values();

}  // namespace copykv::test
