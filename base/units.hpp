// SPDX-License-Identifier: Apache-2.0
// Quantities as people write and read them. Parsing is exact (no floating point): what does not fit
// 64 bits, or has an unknown unit, is refused with a line that says what is accepted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace copykv {

/// "4096", "64MiB", "1.5GiB", "1G". KiB..TiB and K..T are powers of 1,024; kB..TB of 1,000. Case
/// does not matter. A fraction of a byte is cut off.
[[nodiscard]] Outcome<uint64_t> parse_bytes(std::string_view text);

/// "10s", "5ms", "250us", "100ns", "2min", "1h". A bare number counts `bare_unit_ns`.
[[nodiscard]] Outcome<uint64_t> parse_duration_ns(std::string_view text,
                                                  uint64_t bare_unit_ns = kNanosPerSecond);

/// A plain unsigned decimal without sign, space or unit, at most `max`.
[[nodiscard]] Outcome<uint64_t> parse_count(std::string_view text, uint64_t max = UINT64_MAX);

/// A plain decimal such as "0.5" or "1e6"; finite.
[[nodiscard]] Outcome<double> parse_number(std::string_view text);

/// "5,242,880": the thousands apart.
[[nodiscard]] std::string format_count(uint64_t count);
/// "5,242,880 B": exact, for messages.
[[nodiscard]] std::string format_bytes(uint64_t bytes);
/// "1GiB", "4096": the shortest text that parse_bytes turns into the same number.
[[nodiscard]] std::string spell_bytes(uint64_t bytes);
/// "10s", "1500us", "0s": the shortest whole text that parse_duration_ns turns into the same
/// number.
[[nodiscard]] std::string spell_duration(uint64_t duration_ns);
/// "873 B", "5.00 MiB": three digits, for tables.
[[nodiscard]] std::string round_bytes(uint64_t bytes);
/// "131 ns", "47.2 us", "1.50 s": three digits, for tables.
[[nodiscard]] std::string round_duration(uint64_t duration_ns);
/// "873", "12.5 k", "3.20 M": three digits, for rates in tables.
[[nodiscard]] std::string round_count(double count);

}  // namespace copykv
