// SPDX-License-Identifier: Apache-2.0
// The part of docs/protocol.md that is about ranks: its ```wire blocks are compared with bytes that
// two ranks write to each other here, and that the rendezvous makes; its wire-fields and
// wire-values tables with the code (protocol_document.hpp).
#include "tests/unit/copyrpc/protocol_example.hpp"

#include <catch2/catch.hpp>

namespace copykv::test {

TEST_CASE("the wire examples of the protocol are what the code makes", "[protocol]") {
  Examples examples;
  show_ranks(examples);
  show_rendezvous(examples);
  check_blocks("wire", examples);
}

TEST_CASE("the wire tables of the protocol are the code's", "[protocol]") {
  check_tables(tables_of(protocol_document(), "wire-fields"), 3, wire_fields());
  check_tables(tables_of(protocol_document(), "wire-values"), 2, wire_values());
}

TEST_CASE("the same run makes the same bytes", "[protocol]") {
  Examples once;
  Examples again;
  show_ranks(once);
  show_ranks(again);
  CHECK(once == again);
}

}  // namespace copykv::test
