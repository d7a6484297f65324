// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/shm/protocol_document.hpp"

#include <fmt/format.h>

#include <fstream>
#include <set>
#include <sstream>

namespace copykv::test {
namespace {

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

}  // namespace

std::vector<std::string> protocol_document() {
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

void check_blocks(const std::string& kind, const std::map<std::string, Bytes>& examples) {
  std::set<std::string> seen;
  for (const Block& block : blocks_of(protocol_document(), kind)) {
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

}  // namespace copykv::test
