// SPDX-License-Identifier: Apache-2.0
#include "base/units.hpp"

#include <catch2/catch.hpp>

namespace copykv {
namespace {

TEST_CASE("bytes are read exactly") {
  const auto [text, bytes] = GENERATE(table<const char*, uint64_t>({
      {"0", 0},
      {"4096", 4096},
      {"1GiB", 1ULL << 30},
      {"64mib", 64ULL << 20},
      {"64 MiB", 64ULL << 20},
      {"1.5GiB", 3ULL << 29},
      {"16k", 16384},
      {"1kB", 1000},
      {"2.5MB", 2'500'000},
      {"0.3B", 0},
      {"18446744073709551615", UINT64_MAX},
      {"16777215.99999999TiB", 18446744073709540620ULL},
  }));
  INFO(text);
  const auto parsed = parse_bytes(text);
  REQUIRE(parsed);
  CHECK(*parsed == bytes);
}

TEST_CASE("what is no number of bytes is refused with a reason") {
  const auto* text = GENERATE("", "GiB", "-1", "+1", "1XB", "1..5k", "1.", ".5", "1 0", "0x10",
                              "18446744073709551616", "16777216TiB", " 1", "1  k", "1k ",
                              "99999999999999999999999999999999999999999999");
  INFO(text);
  const auto parsed = parse_bytes(text);
  CHECK_FALSE(parsed);
  CHECK_FALSE(parsed.error.empty());
}

TEST_CASE("durations are read exactly, bare numbers in the unit asked for") {
  CHECK(*parse_duration_ns("10s") == 10 * kNanosPerSecond);
  CHECK(*parse_duration_ns("10") == 10 * kNanosPerSecond);
  CHECK(*parse_duration_ns("10", kNanosPerMicro) == 10 * kNanosPerMicro);
  CHECK(*parse_duration_ns("0.25ms") == 250'000);
  CHECK(*parse_duration_ns("250us") == 250'000);
  CHECK(*parse_duration_ns("1.5 min") == 90 * kNanosPerSecond);
  CHECK(*parse_duration_ns("1h") == 3600 * kNanosPerSecond);
  CHECK_FALSE(parse_duration_ns("1 fortnight"));
  CHECK_FALSE(parse_duration_ns("99999999h"));
}

TEST_CASE("counts and numbers take nothing but themselves") {
  CHECK(*parse_count("0") == 0);
  CHECK(*parse_count("18446744073709551615") == UINT64_MAX);
  CHECK(*parse_count("64", 64) == 64);
  CHECK_FALSE(parse_count("65", 64));
  CHECK_FALSE(parse_count(""));
  CHECK_FALSE(parse_count("-1"));
  CHECK_FALSE(parse_count("1k"));
  CHECK(*parse_number("0.25") == 0.25);
  CHECK(*parse_number("-1e3") == -1000.0);
  CHECK_FALSE(parse_number("inf"));
  CHECK_FALSE(parse_number("nan"));
  CHECK_FALSE(parse_number("1 "));
}

TEST_CASE("what is spelled reads back as the same number") {
  for (const uint64_t bytes :
       {0ULL, 1ULL, 1023ULL, 1024ULL, 1536ULL, 5ULL << 20, 1ULL << 40, ~0ULL}) {
    CHECK(*parse_bytes(spell_bytes(bytes)) == bytes);
  }
  for (const uint64_t ns : {0ULL, 1ULL, 1500ULL, 1'500'000ULL, 10'000'000'000ULL}) {
    CHECK(*parse_duration_ns(spell_duration(ns)) == ns);
  }
  CHECK(spell_bytes(1ULL << 30) == "1GiB");
  CHECK(spell_bytes(1536) == "1536");
  CHECK(spell_duration(1'500'000) == "1500us");
  CHECK(spell_duration(120 * kNanosPerSecond) == "120s");
}

TEST_CASE("people read thousands apart and three digits") {
  CHECK(format_count(0) == "0");
  CHECK(format_count(999) == "999");
  CHECK(format_bytes(5'242'880) == "5,242,880 B");
  CHECK(round_bytes(873) == "873 B");
  CHECK(round_bytes(1000) == "0.98 KiB");
  CHECK(round_bytes(5ULL << 20) == "5.00 MiB");
  CHECK(round_duration(131) == "131 ns");
  CHECK(round_duration(47'240) == "47.2 us");
  CHECK(round_duration(999'600) == "1.00 ms");
  CHECK(round_duration(1'500'000'000) == "1.50 s");
  CHECK(round_count(873) == "873");
  CHECK(round_count(12'480) == "12.5 k");
  CHECK(round_count(3.2e6) == "3.20 M");
}

}  // namespace
}  // namespace copykv
