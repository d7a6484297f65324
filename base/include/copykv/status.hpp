// SPDX-License-Identifier: Apache-2.0
// How an operation ended. One byte, the same value in shared memory, in the library and on the
// wire.
//
// An error never changes its meaning on the way: what the daemon (or the library) decided is what
// the caller sees. In particular a dead peer is `disconnected` or `indeterminate`, never
// `not_found`.
#pragma once

#include <cstdint>
#include <string_view>

namespace copykv {

enum class [[nodiscard]] Status : uint8_t{
    ok = 0,
    not_found = 1,         ///< no such key (or it has expired)
    condition_failed = 2,  ///< put if-absent/if-present/if-version: the condition did not hold
    no_space = 3,          ///< the daemon's memory limit is reached; nothing was changed
    invalid_key = 4,       ///< key length outside 1..1,024 bytes
    value_too_large = 5,   ///< value longer than the daemon's --max-value-bytes
    not_a_number = 6,      ///< add: the stored value is no 64-bit decimal, or the sum overflows
    bad_request = 7,       ///< the request line was malformed; nothing was changed
    buffer_too_small = 8,  ///< get: the value is larger than the room given; its size is reported
    would_block = 9,       ///< every slot is in flight (or no bulk room): poll, then try again
    disconnected = 10,     ///< the daemon is gone; the operation had no effect
    indeterminate = 11,    ///< the daemon went away during a write: it may or may not have happened
    unreachable = 12,      ///< the rank that owns the key cannot be reached
    wrong_owner = 13,      ///< this daemon does not own the key; the routing table has changed
    unsupported = 14,      ///< the daemon does not know this operation
};
inline constexpr uint8_t kStatusCount = 15;

/// The name as it appears in logs, JSON and on the command line ("ok", "not_found", ...).
constexpr std::string_view to_string(Status status) noexcept {
  constexpr std::string_view kNames[kStatusCount] = {
      "ok",           "not_found",    "condition_failed",
      "no_space",     "invalid_key",  "value_too_large",
      "not_a_number", "bad_request",  "buffer_too_small",
      "would_block",  "disconnected", "indeterminate",
      "unreachable",  "wrong_owner",  "unsupported"};
  const auto index = static_cast<uint8_t>(status);
  return index < kStatusCount ? kNames[index] : std::string_view("invalid_status");
}

}  // namespace copykv
