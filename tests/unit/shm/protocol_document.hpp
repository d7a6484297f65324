// SPDX-License-Identifier: Apache-2.0
// docs/protocol.md as the tests read it: blocks of bytes, and tables. A block looks like
//
//   ```hex put-response
//   00  01 00 00 00 00 00 00 00  # offset, bytes, and why
//   ...                          # the bytes up to the next offset, or to the end, are not shown
//   ```
//
// and a table follows <!-- fields STRUCT --> or <!-- values ENUM -->. A failure prints the bytes as
// they are now: paste them, and raise the version where its rules say so.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace copykv::test {

using Bytes = std::vector<std::byte>;
using Cells = std::vector<std::string>;

struct Block {
  std::string name;
  std::vector<std::string> lines;
};

[[nodiscard]] std::vector<std::string> protocol_document();
/// Fenced as ```KIND NAME.
[[nodiscard]] std::vector<Block> blocks_of(const std::vector<std::string>& lines,
                                           const std::string& kind);
/// Empty when every byte shown is `actual`'s and none is left out but behind "...".
[[nodiscard]] std::string difference(const Block& block, const Bytes& actual);
/// The rows of the tables behind <!-- KIND NAME -->: their first cells, without backquotes.
[[nodiscard]] std::map<std::string, std::vector<Cells>> tables_of(
    const std::vector<std::string>& lines, const std::string& kind);

/// Every block of that kind shows its example, and every example has a block.
void check_blocks(const std::string& kind, const std::map<std::string, Bytes>& examples);
/// The first `columns` cells of the rows are `expected`, in order.
void check_tables(const std::map<std::string, std::vector<Cells>>& shown, size_t columns,
                  const std::map<std::string, std::vector<Cells>>& expected);

}  // namespace copykv::test
