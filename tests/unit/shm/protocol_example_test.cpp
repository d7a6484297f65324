// SPDX-License-Identifier: Apache-2.0
// docs/protocol.md cannot rot: every hex block in it is compared with bytes that the library, the
// engine and the handshake make here, every field table with the structs (protocol_document.hpp).
#include "tests/unit/shm/protocol_example.hpp"

#include <catch2/catch.hpp>

#include "tools/copykv/counters.hpp"
#include "tools/copykv/rank_view.hpp"

namespace copykv::test {

TEST_CASE("the hex examples of the protocol are what the code makes", "[protocol]") {
  check_blocks("hex", protocol_examples());
}

TEST_CASE("the field tables of the protocol are the structs", "[protocol]") {
  check_tables(tables_of(protocol_document(), "fields"), 3, protocol_fields());
}

TEST_CASE("the value tables of the protocol are the enums", "[protocol]") {
  auto values = protocol_values();
  for (uint32_t op = kOpFirst; op <= kOpLast; ++op) {
    values["Op"].push_back({std::to_string(op), std::string(tools::op_name(op))});
  }
  check_tables(tables_of(protocol_document(), "values"), 2, values);
}

TEST_CASE("the info file of the protocol can be read", "[protocol]") {
  const std::vector<Block> shown = blocks_of(protocol_document(), "text");
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
