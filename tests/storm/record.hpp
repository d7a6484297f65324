// SPDX-License-Identifier: Apache-2.0
// Values that say themselves what they are, so that any reader can tell a whole value from a torn
// one, one of another key, or one that was never written.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/hash.hpp"
#include "base/random.hpp"

namespace copykv::storm {

struct Record {
  uint64_t key = 0;
  uint64_t writer = 0;
  uint64_t sequence = 0;
  uint64_t value_bytes = 0;
  uint64_t check = 0;  ///< over the four above

  [[nodiscard]] uint64_t expected_check() const noexcept {
    return hash_key({reinterpret_cast<const char*>(this), offsetof(Record, check)});
  }
};
inline constexpr uint64_t kRecordBytesMin = sizeof(Record);

[[nodiscard]] inline std::string record_key(uint64_t key) {
  return fmt::format("record-{:06}", key);
}

/// Only values of these keys may be larger than what every answer has room for (480 B). A get of a
/// larger one asks a second time, and other operations of its client that are in flight may
/// overtake it: such a client has one of such a key in flight.
[[nodiscard]] constexpr bool is_large(uint64_t key) noexcept {
  return key % 4 == 0;
}

/// Fills `to` (at least kRecordBytesMin bytes): the record, then bytes that follow from it.
inline void write_record(uint64_t key, uint64_t writer, uint64_t sequence, std::string& to) {
  Record record{key, writer, sequence, to.size(), 0};
  record.check = record.expected_check();
  std::memcpy(to.data(), &record, sizeof(record));
  fill_bytes(to.data() + sizeof(record), to.size() - sizeof(record), record.check);
}

/// Empty and `record` filled, or what is wrong with the value.
[[nodiscard]] inline std::string read_record(uint64_t key, std::string_view value, Record& record) {
  if (value.size() < sizeof(record)) return fmt::format("{} B are no record", value.size());
  std::memcpy(&record, value.data(), sizeof(record));
  if (record.check != record.expected_check()) return "the check word is wrong";
  if (record.key != key) return fmt::format("a record of key {}, not {}", record.key, key);
  if (record.value_bytes != value.size()) {
    return fmt::format("{} B of a record of {} B", value.size(), record.value_bytes);
  }
  const size_t whole = sizeof(record) + filled_until(value.substr(sizeof(record)), record.check);
  if (whole < value.size()) return fmt::format("torn at byte {} of {}", whole, value.size());
  return {};
}

}  // namespace copykv::storm
