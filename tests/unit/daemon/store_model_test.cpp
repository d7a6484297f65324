// SPDX-License-Identifier: Apache-2.0
// Random operations on a store, each answer compared with the obvious implementation.
#include <fmt/format.h>

#include <set>
#include <string>
#include <unordered_map>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "daemon/store.hpp"
#include "tests/unit/daemon/store_fixture.hpp"

namespace copykv {
namespace {

using test::StoreFixture;

constexpr uint64_t kMiB = uint64_t{1} << 20;

struct Modelled {
  std::string value;
  uint64_t version;
  uint32_t user_flags;
  uint64_t expires_at_ms;
};

/// The obvious implementation of what Store promises.
struct Model {
  Modelled* find(const std::string& key) {
    const auto at = items.find(key);
    if (at == items.end()) return nullptr;
    if (at->second.expires_at_ms != 0 && now_ms >= at->second.expires_at_ms) {
      items.erase(at);
      return nullptr;
    }
    return &at->second;
  }
  uint64_t expiry(uint32_t ttl_ms) const { return ttl_ms == 0 ? 0 : now_ms + ttl_ms; }

  std::unordered_map<std::string, Modelled> items;
  uint64_t now_ms = 1;
};

bool holds(const PutRequest& request, const Modelled* item) {
  switch (request.condition) {
    case Condition::always:
      return true;
    case Condition::if_absent:
      return item == nullptr;
    case Condition::if_present:
      return item != nullptr;
    case Condition::if_version:
      return item != nullptr && item->version == request.if_version;
  }
  return false;
}

struct ModelTest {
  explicit ModelTest(uint64_t seed) : random(seed) {}

  std::string any_key() {
    const uint64_t number = random.below(3'000);
    return fmt::format("{:0{}}", number, 1 + number % 60);
  }
  std::string any_value() {
    const uint64_t bytes = random.chance(0.02) ? random.below(20'000) : random.below(120);
    std::string value(bytes, static_cast<char>('a' + random.below(26)));
    for (size_t at = 0; at < bytes; at += 61) value[at] = static_cast<char>(random.next());
    return value;
  }

  void check_get(const std::string& key) {
    const Modelled* expected = model.find(key);
    const StoreAnswer answer = under.get(key);
    REQUIRE((answer.status == Status::ok) == (expected != nullptr));
    if (expected == nullptr) return;
    REQUIRE(answer.version == expected->version);
    REQUIRE(answer.user_flags == expected->user_flags);
    REQUIRE(under.value_of(key) == expected->value);
  }
  void put(const std::string& key) {
    PutRequest request{.condition = static_cast<Condition>(random.below(4))};
    Modelled* standing = model.find(key);
    request.user_flags = random.chance(0.2) ? static_cast<uint32_t>(random.next()) : 0;
    request.ttl_ms = random.chance(0.2) ? static_cast<uint32_t>(1 + random.below(500)) : 0;
    request.if_version = standing != nullptr && random.chance(0.7) ? standing->version : 7;
    const bool expect = holds(request, standing);
    const uint64_t stands = standing == nullptr ? 0 : standing->version;
    const std::string value = any_value();
    const StoreAnswer answer = under.put(key, value, request);
    REQUIRE(answer.status == (expect ? Status::ok : Status::condition_failed));
    if (!expect) {
      REQUIRE(answer.version == stands);
      return;
    }
    REQUIRE(answer.version > last_version);
    last_version = answer.version;
    model.items[key] = {value, answer.version, request.user_flags, model.expiry(request.ttl_ms)};
  }
  void del(const std::string& key) {
    const bool stands = model.find(key) != nullptr;
    REQUIRE(under.del(key).status == (stands ? Status::ok : Status::not_found));
    model.items.erase(key);
  }
  void touch(const std::string& key) {
    Modelled* item = model.find(key);
    const auto ttl_ms = static_cast<uint32_t>(random.below(300));
    const StoreAnswer answer = under.touch(key, ttl_ms);
    REQUIRE(answer.status == (item != nullptr ? Status::ok : Status::not_found));
    if (item == nullptr) return;
    REQUIRE(answer.version == item->version);
    item->expires_at_ms = model.expiry(ttl_ms);
  }
  void add(const std::string& key) {
    Modelled* item = model.find(key);
    const auto delta = static_cast<int64_t>(random.next() >> 3);
    const bool number = item == nullptr || numbers.count(key) > 0;
    if (item != nullptr && !number) {
      // A random value is no decimal: it starts with a random byte or is empty.
      if (item->value.find_first_not_of("0123456789") == std::string::npos) return;
      REQUIRE(under.add(key, delta).status == Status::not_a_number);
      return;
    }
    const int64_t before = item == nullptr ? 0 : std::stoll(item->value);
    int64_t sum = 0;
    const bool overflow = __builtin_add_overflow(before, delta, &sum);
    const StoreAnswer answer = under.add(key, delta);
    REQUIRE(answer.status == (overflow ? Status::not_a_number : Status::ok));
    if (overflow) return;
    REQUIRE(answer.number == sum);
    REQUIRE(answer.version > last_version);
    last_version = answer.version;
    const Modelled kept = item == nullptr ? Modelled{} : *item;
    model.items[key] = {std::to_string(sum), answer.version, kept.user_flags, kept.expires_at_ms};
  }

  void step() {
    const std::string key = any_key();
    const bool counter = numbers.count(key) > 0;
    switch (random.below(8)) {
      case 0:
      case 1:
      case 2:
        if (!counter) put(key);
        break;
      case 3:
        del(key);
        break;
      case 4:
        touch(key);
        break;
      case 5:
        if (model.find(key) == nullptr) numbers.insert(key);
        add(key);
        break;
      default:
        check_get(key);
    }
    if (random.chance(0.01)) {
      model.now_ms += random.below(60);
      under.store.begin_turn(model.now_ms);
    }
    if (random.chance(0.02)) (void)under.store.sweep(50);
  }

  Random random;
  Model model;
  StoreFixture under{64 * kMiB};
  std::set<std::string> numbers;  ///< keys that only add has written
  uint64_t last_version = 0;
};

TEST_CASE("operations agree with a model", "[store]") {
  ModelTest test(GENERATE(as<uint64_t>{}, 1, 2, 3));
  test.under.store.begin_turn(test.model.now_ms);
  for (uint32_t step = 0; step < 60'000; ++step) {
    test.step();
    if (step % 20'000 == 0) REQUIRE(test.under.store.is_valid());
  }
  REQUIRE(test.under.store.is_valid());
  for (uint32_t number = 0; number < 3'000; ++number) {
    test.check_get(fmt::format("{:0{}}", number, 1 + number % 60));
  }
  REQUIRE(test.under.store.counters().expired > 0);
  for (const auto& [key, item] : std::unordered_map(test.model.items)) (void)test.under.del(key);
  (void)test.under.store.sweep(1'000'000);
  CHECK(test.under.store.counters().items == 0);
  CHECK(test.under.store.counters().arena_used_bytes == 0);
}

}  // namespace
}  // namespace copykv
