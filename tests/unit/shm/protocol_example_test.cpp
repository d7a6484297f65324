// SPDX-License-Identifier: Apache-2.0
// docs/protocol.md cannot rot: every hex block in it is compared with bytes that the library, the
// engine and the handshake make here, every field table with the structs. A block looks like
//
//   ```hex put-response
//   00  01 00 00 00 00 00 00 00  # offset, bytes, and why
//   ...                          # the bytes up to the next offset, or to the end, are not shown
//   ```
//
// and a table follows <!-- fields STRUCT --> or <!-- values ENUM -->. A failure prints the bytes as
// they are now: paste them, and raise the ABI version where its rules say so.
#include "tests/unit/shm/protocol_example.hpp"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include <catch2/catch.hpp>

#include "tools/copykv/counters.hpp"
#include "tools/copykv/rank_view.hpp"

namespace copykv::test {
namespace {

struct Block {
  std::string name;
  std::vector<std::string> lines;
};

std::vector<std::string> document() {
  std::ifstream file(COPYKV_PROTOCOL_DOC);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<Block> blocks_of(const std::vector<std::string>& lines, const std::string& kind) {
  std::vector<Block> blocks;
  bool inside = false;
  for (const std::string& line : lines) {
    if (inside && line == "```") {
      inside = false;
    } else if (inside) {
      blocks.back().lines.push_back(line);
    } else if (line.starts_with("```" + kind + " ")) {
      blocks.push_back({line.substr(4 + kind.size()), {}});
      inside = true;
    }
  }
  return blocks;
}

std::string hex_dump(const Bytes& bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size() && at < 512; at += 8) {
    text += fmt::format("{:02x} ", at);
    for (size_t next = at; next < bytes.size() && next < at + 8; ++next) {
      text += fmt::format(" {:02x}", std::to_integer<unsigned>(bytes[next]));
    }
    text += '\n';
  }
  return text;
}

/// Empty when every byte shown is `actual`'s and none is left out but behind "...".
std::string difference(const Block& block, const Bytes& actual) {
  size_t at = 0;
  bool open = false;
  for (const std::string& line : block.lines) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    if (!(words >> word)) continue;
    if (word == "...") {
      open = true;
      continue;
    }
    const size_t offset = std::stoul(word, nullptr, 16);
    if (open ? offset < at : offset != at)
      return fmt::format("expected offset {:02x}: {}", at, line);
    open = false;
    for (at = offset; words >> word; ++at) {
      if (at >= actual.size()) return fmt::format("longer than {} B: {}", actual.size(), line);
      const auto byte = static_cast<std::byte>(std::stoul(word, nullptr, 16));
      if (word.size() != 2 || byte != actual[at]) return fmt::format("byte {:02x}: {}", at, line);
    }
  }
  if (!open && at != actual.size()) return fmt::format("ends at {} of {} B", at, actual.size());
  return {};
}

/// The rows of the tables behind <!-- KIND NAME -->: their first cells, without backquotes.
std::map<std::string, std::vector<Cells>> tables_of(const std::vector<std::string>& lines,
                                                    const std::string& kind) {
  std::map<std::string, std::vector<Cells>> tables;
  std::string name;
  const std::string mark = "<!-- " + kind + " ";
  for (const std::string& line : lines) {
    if (line.starts_with(mark)) {
      name = line.substr(mark.size(), line.find(" -->") - mark.size());
    } else if (!name.empty() && !line.starts_with("|")) {
      name.clear();
    } else if (!name.empty() && line.size() > 2 && line[2] >= '0' && line[2] <= '9') {
      Cells cells;
      std::istringstream row(line.substr(1));
      for (std::string cell; std::getline(row, cell, '|');) {
        cell.erase(0, cell.find_first_not_of(" `"));
        cell.erase(cell.find_last_not_of(" `") + 1);
        cells.push_back(cell);
      }
      tables[name].push_back(cells);
    }
  }
  return tables;
}

/// The first `columns` cells of the rows must be `expected`, in order.
void check_tables(const std::map<std::string, std::vector<Cells>>& shown, size_t columns,
                  const std::map<std::string, std::vector<Cells>>& expected) {
  for (const auto& [name, rows] : shown) {
    INFO(name);
    REQUIRE(expected.contains(name));
    std::vector<Cells> cut;
    for (const Cells& row : rows) {
      REQUIRE(row.size() >= columns);
      cut.emplace_back(row.begin(), row.begin() + static_cast<ptrdiff_t>(columns));
    }
    CHECK(cut == expected.at(name));
  }
  CHECK(shown.size() == expected.size());
}

}  // namespace

TEST_CASE("the hex examples of the protocol are what the code makes", "[protocol]") {
  const std::map<std::string, Bytes> examples = protocol_examples();
  std::set<std::string> seen;
  for (const Block& block : blocks_of(document(), "hex")) {
    INFO(block.name);
    REQUIRE(examples.contains(block.name));
    INFO("now:\n" << hex_dump(examples.at(block.name)));
    CHECK(difference(block, examples.at(block.name)) == "");
    seen.insert(block.name);
  }
  for (const auto& [name, bytes] : examples) {
    INFO("no block of docs/protocol.md shows " << name << ":\n" << hex_dump(bytes));
    CHECK(seen.contains(name));
  }
}

TEST_CASE("the field tables of the protocol are the structs", "[protocol]") {
  check_tables(tables_of(document(), "fields"), 3, protocol_fields());
}

TEST_CASE("the value tables of the protocol are the enums", "[protocol]") {
  auto values = protocol_values();
  for (uint32_t op = kOpFirst; op <= kOpLast; ++op) {
    values["Op"].push_back({std::to_string(op), std::string(tools::op_name(op))});
  }
  check_tables(tables_of(document(), "values"), 2, values);
}

TEST_CASE("the info file of the protocol can be read", "[protocol]") {
  const std::vector<Block> shown = blocks_of(document(), "text");
  REQUIRE(shown.size() == 1);
  std::string text;
  for (const std::string& line : shown[0].lines) text += line + "\n";
  const auto info = tools::parse_rank_info(text);
  INFO(info.error);
  REQUIRE(info);
  CHECK(info->pid > 0);
  CHECK(info->epoch > 0);
  CHECK(info->socket.ends_with("/rank0.sock"));
}

TEST_CASE("a changed byte, a gap and a short block are noticed", "[protocol]") {
  const Bytes actual = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  CHECK(difference({"", {"00  01 02  # two", "02  03 04"}}, actual) == "");
  CHECK(difference({"", {"00  01", "...", "03  04"}}, actual) == "");
  CHECK(difference({"", {"00  01 02", "..."}}, actual) == "");
  CHECK(difference({"", {"00  01 02 03 05"}}, actual) == "byte 03: 00  01 02 03 05");
  CHECK(difference({"", {"00  01", "02  03 04"}}, actual) != "");
  CHECK(difference({"", {"00  01 02 03"}}, actual) == "ends at 3 of 4 B");
  CHECK(difference({"", {"00  01 02 03 04 05"}}, actual) != "");
}

}  // namespace copykv::test
