// SPDX-License-Identifier: Apache-2.0
// The value check catches what it promises (bench/values.hpp, CATCHES).
#include "bench/values.hpp"

#include <algorithm>
#include <string>

#include <catch2/catch.hpp>

#include "base/random.hpp"

namespace copykv::bench {
namespace {

std::string make(size_t bytes, uint32_t key_index, Stamp stamp) {
  std::string value(bytes, '\0');
  fill_value(value, key_index, stamp);
  return value;
}

const std::vector<size_t> kLengths = {0,  1,  2,  7,  8,  9,   11,  15,  16,   17,
                                      23, 24, 31, 32, 64, 100, 240, 241, 1000, 4096};

}  // namespace

TEST_CASE("what was written is right") {
  Random random(1);
  for (const size_t bytes : kLengths) {
    for (int i = 0; i < 200; ++i) {
      const auto key = static_cast<uint32_t>(random.next());
      const Stamp stamp{static_cast<uint16_t>(random.next()), random.next()};
      REQUIRE(value_is_right(make(bytes, key, stamp), key));
    }
  }
}

TEST_CASE("every corruption of a single byte is caught") {
  for (const size_t bytes : kLengths) {
    for (const uint32_t key : {0U, 42U, 0xffff'ffffU}) {
      std::string value = make(bytes, key, {3, 1000 + bytes});
      for (size_t at = 0; at < bytes; ++at) {
        const char original = value[at];
        for (int flip = 1; flip<256; flip += bytes> 64 ? 51 : 1) {
          value[at] = static_cast<char>(original ^ flip);
          REQUIRE_FALSE(value_is_right(value, key));
        }
        value[at] = original;
      }
      REQUIRE(value_is_right(value, key));
    }
  }
}

TEST_CASE("a value of another key is caught: always from eight bytes on") {
  Random random(2);
  for (const size_t bytes : kLengths) {
    if (bytes < 8) continue;
    for (uint32_t key = 1; key < 2000; ++key) {
      const std::string value = make(bytes, key, {1, random.next()});
      REQUIRE_FALSE(value_is_right(value, key - 1));
      REQUIRE_FALSE(value_is_right(value, key + 1));
      REQUIRE_FALSE(value_is_right(value, static_cast<uint32_t>(random.next())));
    }
  }
}

TEST_CASE("below eight bytes another key's value passes as seldom as its bits allow") {
  uint64_t passed = 0;
  constexpr uint32_t kKeys = 20'000;
  for (uint32_t key = 0; key < kKeys; ++key) passed += value_is_right(make(1, key, {}), key + 1);
  CHECK(static_cast<double>(passed) / kKeys == Approx(1.0 / 256).margin(0.002));
}

TEST_CASE("a value cut short or grown is caught") {
  for (const size_t bytes : kLengths) {
    if (bytes < 8) continue;
    const std::string value = make(bytes, 5, {1, 99});
    for (size_t other = 8; other < bytes; ++other) {
      REQUIRE_FALSE(value_is_right(std::string_view(value).substr(0, other), 5));
    }
    REQUIRE_FALSE(value_is_right(value + '\0', 5));
  }
}

TEST_CASE("a mix of two versions is caught") {
  // Eight bytes torn at byte 4 for certain; longer ones at every word.
  for (uint64_t sequence = 1; sequence < 2000; ++sequence) {
    const std::string older = make(8, 7, {1, sequence});
    const std::string newer = make(8, 7, {2, sequence + 1});
    REQUIRE(older != newer);
    REQUIRE_FALSE(value_is_right(newer.substr(0, 4) + older.substr(4), 7));
    REQUIRE_FALSE(value_is_right(older.substr(0, 4) + newer.substr(4), 7));
  }
  for (const size_t bytes : {16U, 24U, 64U, 1000U, 4096U}) {
    const std::string older = make(bytes, 7, {1, 10});
    const std::string newer = make(bytes, 7, {1, 11});
    for (size_t at = 8; at < bytes; at += 8) {
      REQUIRE_FALSE(value_is_right(newer.substr(0, at) + older.substr(at), 7));
    }
  }
}

TEST_CASE("an eight-byte value torn anywhere passes less than once in 2^20") {
  uint64_t passed = 0;
  Random random(4);
  for (int i = 0; i < 1 << 20; ++i) {
    const std::string a = make(8, 7, {1, random.next()});
    const std::string b = make(8, 7, {2, random.next()});
    const size_t at = 1 + random.below(7);
    const std::string torn = a.substr(0, at) + b.substr(at);
    passed += torn != a && torn != b && value_is_right(torn, 7);
  }
  CHECK(passed <= 1);
}

TEST_CASE("noise is no value") {
  Random random(5);
  uint64_t passed = 0;
  for (int i = 0; i < 1 << 20; ++i) {
    const uint64_t noise = random.next();
    passed += value_is_right({reinterpret_cast<const char*>(&noise), 8}, 7);
  }
  CHECK(passed <= 1);
}

}  // namespace copykv::bench
