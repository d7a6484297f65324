// SPDX-License-Identifier: Apache-2.0
// Cards and policies as text and bytes.
#include "copyrpc/wire.hpp"

#include <catch2/catch.hpp>

#include "copyrpc/flush_policy.hpp"

using namespace copyrpc;

TEST_CASE("a card comes back as it was packed") {
  const Card card{7, 99, {0x1000, 0xabcdef, 4096}, "an address"};
  const std::string bytes = card.pack();
  const auto again = Card::unpack(bytes);
  REQUIRE(again);
  CHECK(again->node == 7);
  CHECK(again->incarnation == 99);
  CHECK(again->mailbox.key == 0xabcdef);
  CHECK(again->address == "an address");
  for (size_t cut = 0; cut < bytes.size(); ++cut) CHECK_FALSE(Card::unpack(bytes.substr(0, cut)));
  CHECK_FALSE(Card::unpack(bytes + "x"));
  std::string other = bytes;
  other[4] = 9;
  CHECK(Card::unpack(other).error.find("same version") != std::string::npos);
}

TEST_CASE("flush policies are read and spelled") {
  for (const char* text : {"loop", "call", "hold:5", "clocked", "clocked:2"}) {
    const auto policy = FlushPolicy::parse(text);
    REQUIRE(policy);
    CHECK(policy->spell() == text);
  }
  CHECK(FlushPolicy::parse("clocked:6")->spell() == "clocked");
  for (const char* text : {"", "loops", "hold", "hold:", "hold:x", "hold:1000001", "clocked:0",
                           "clocked:65", "call:1", "loop:", "hold:-1"}) {
    INFO(text);
    CHECK_FALSE(FlushPolicy::parse(text));
  }
}
