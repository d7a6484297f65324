// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/json_lines.hpp"

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "tools/copykv/base64.hpp"
#include "tools/copykv/utf8.hpp"

using namespace copykv;
using namespace copykv::tools;

namespace {

std::string random_bytes(Random& random, size_t bytes) {
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random.below(256));
  return text;
}

std::string error_of(std::string_view line, Encoding encoding = Encoding::utf8) {
  const auto record = parse_record(line, encoding);
  CHECK_FALSE(record);
  return record.error;
}

}  // namespace

TEST_CASE("base64 matches the vectors of RFC 4648", "[base64]") {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : vectors) {
    CHECK(base64_encode(bytes) == text);
    CHECK(base64_decode(text) == bytes);
  }
}

TEST_CASE("base64 gives back all bytes at all lengths", "[base64]") {
  Random random(1);
  for (size_t bytes = 0; bytes < 300; ++bytes) {
    const std::string data = random_bytes(random, bytes);
    REQUIRE(base64_decode(base64_encode(data)) == data);
  }
}

TEST_CASE("base64 refuses every text that encoding would not write", "[base64]") {
  for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "=", "====", "Zm9v=", "Z===", "Zh==", "Zm9=",
                           "Zm 9", "Zm9v\n", "Zg==Zg==", "Zm9-", "Zm\xc3\xa9v"}) {
    INFO(text);
    CHECK_FALSE(base64_decode(text));
  }
}

TEST_CASE("UTF-8 ends where RFC 3629 says", "[utf8]") {
  for (const char* text : {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    CHECK(is_utf8(text));
  }
  for (const char* text : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2 ", "\xe0\x9f\xbf",
                           "\xed\xa0\x80", "\xe1\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
                           "\xf5\x80\x80\x80", "\xff", "ok\xe2\x82"}) {
    CHECK_FALSE(is_utf8(text));
  }
  CHECK(is_utf8(std::string_view("\0\n", 2)));
}

TEST_CASE("a record is written as one line and read back", "[json_lines]") {
  CHECK(format_record("k", "v", 0, Encoding::utf8) == "{\"key\":\"k\",\"value\":\"v\"}\n");
  CHECK(format_record("k", "v", 7, Encoding::base64) ==
        "{\"key\":\"aw==\",\"value\":\"dg==\",\"flags\":7}\n");

  const std::string key("quote\" back\\slash \0 \x01 \n caf\xc3\xa9", 29);
  const auto line = format_record(key, "", UINT32_MAX, Encoding::utf8);
  REQUIRE(line);
  CHECK(line->find('\n') == line->size() - 1);
  const auto record = parse_record(*line, Encoding::utf8);
  REQUIRE(record);
  CHECK(record->key == key);
  CHECK(record->value.empty());
  CHECK(record->flags == UINT32_MAX);
}

TEST_CASE("bytes that are no UTF-8 go through base64 only", "[json_lines]") {
  Random random(2);
  for (size_t bytes = 1; bytes < 200; ++bytes) {
    const std::string key = "\xff" + random_bytes(random, bytes);
    const std::string value = random_bytes(random, 3 * bytes);
    CHECK_FALSE(format_record(key, "v", 0, Encoding::utf8));
    CHECK_FALSE(format_record("k", key, 0, Encoding::utf8));
    const auto line = format_record(key, value, 0, Encoding::base64);
    REQUIRE(line);
    const auto record = parse_record(*line, Encoding::base64);
    REQUIRE(record);
    REQUIRE(record->key == key);
    REQUIRE(record->value == value);
  }
}

TEST_CASE("a malformed line is named and the right form shown", "[json_lines]") {
  CHECK_THAT(error_of(""), Catch::Contains("no JSON") && Catch::Contains("expected {\"key\""));
  CHECK_THAT(error_of("{\"key\": \"a\""), Catch::Contains("no JSON"));
  CHECK_THAT(error_of("{\"key\": \"a\", \"value\": \"b\"} x"), Catch::Contains("no JSON"));
  CHECK_THAT(error_of("{\"key\": \"\xff\", \"value\": \"b\"}"), Catch::Contains("no JSON"));
  CHECK_THAT(error_of("[1]"), Catch::Contains("no JSON object"));
  CHECK_THAT(error_of("{\"key\": \"a\"}"), Catch::Contains("no \"value\""));
  CHECK_THAT(error_of("{\"value\": \"a\"}"), Catch::Contains("no \"key\""));
  CHECK_THAT(error_of("{\"key\": 1, \"value\": \"a\"}"), Catch::Contains("\"key\" is no string"));
  CHECK_THAT(error_of("{\"key\": \"a\", \"value\": \"b\", \"ttl\": 1}"),
             Catch::Contains("unknown field \"ttl\""));
  for (const char* flags : {"-1", "4294967296", "1.5", "\"1\""}) {
    const std::string line =
        std::string("{\"key\": \"a\", \"value\": \"b\", \"flags\": ") + flags + "}";
    CHECK_THAT(error_of(line), Catch::Contains("\"flags\""));
  }
  CHECK_THAT(error_of("{\"key\": \"a\", \"value\": \"b\"}", Encoding::base64),
             Catch::Contains("no base64"));
}
