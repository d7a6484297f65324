// SPDX-License-Identifier: Apache-2.0
#include "base/units.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <span>

namespace copykv {
namespace {

struct Unit {
  std::string_view name;  // lower case
  uint64_t scale;
};

// Spelling takes the first that divides, so the binary units stand from large to small.
constexpr Unit kByteUnits[] = {{"tib", 1ULL << 40},
                               {"gib", 1ULL << 30},
                               {"mib", 1ULL << 20},
                               {"kib", 1ULL << 10},
                               {"b", 1},
                               {"t", 1ULL << 40},
                               {"g", 1ULL << 30},
                               {"m", 1ULL << 20},
                               {"k", 1ULL << 10},
                               {"tb", 1'000'000'000'000},
                               {"gb", 1'000'000'000},
                               {"mb", 1'000'000},
                               {"kb", 1'000}};
constexpr std::string_view kByteUnitsAccepted = "B, KiB, MiB, GiB, TiB, kB, MB, GB or TB";

constexpr Unit kDurationUnits[] = {{"h", 3600 * kNanosPerSecond}, {"min", 60 * kNanosPerSecond},
                                   {"s", kNanosPerSecond},        {"ms", kNanosPerMilli},
                                   {"us", kNanosPerMicro},        {"ns", 1}};
constexpr std::string_view kDurationUnitsAccepted = "ns, us, ms, s, min or h";

constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

bool same_name(std::string_view given, std::string_view name) noexcept {
  if (given.size() != name.size()) return false;
  for (size_t i = 0; i < given.size(); ++i) {
    if (lower(given[i]) != name[i]) return false;
  }
  return true;
}

// The digits of a fixed-point number: `units` / 10^`decimals`.
struct Fixed {
  unsigned __int128 digits = 0;
  uint32_t decimals = 0;
  size_t length = 0;  // of its text; 0: no number
};

// 25 digits times the largest unit stays below 2^127, and is more than 64 bits can use.
constexpr uint32_t kDigitsMax = 25;

Fixed read_fixed(std::string_view text) noexcept {
  Fixed number;
  uint32_t digit_count = 0;
  bool point = false;
  size_t at = 0;
  for (; at < text.size(); ++at) {
    if (text[at] == '.' && !point) {
      point = true;
    } else if (is_digit(text[at]) && digit_count < kDigitsMax) {
      number.digits = number.digits * 10 + static_cast<unsigned>(text[at] - '0');
      number.decimals += point ? 1 : 0;
      ++digit_count;
    } else {
      break;
    }
  }
  const bool ends_in_point = at > 0 && text[at - 1] == '.';
  if (digit_count > 0 && !ends_in_point && is_digit(text[0])) number.length = at;
  return number;
}

Outcome<uint64_t> parse_scaled(std::string_view text, std::span<const Unit> units,
                               uint64_t bare_scale, std::string_view accepted) {
  const Fixed number = read_fixed(text);
  if (number.length == 0) {
    return Failure{
        fmt::format("'{}' is no quantity; write a number and a unit: {}", text, accepted)};
  }
  std::string_view suffix = text.substr(number.length);
  if (suffix.starts_with(' ')) suffix.remove_prefix(1);
  uint64_t scale = suffix.empty() ? bare_scale : 0;
  for (const Unit& unit : units) {
    if (same_name(suffix, unit.name)) scale = unit.scale;
  }
  if (scale == 0) {
    return Failure{fmt::format("'{}' has an unknown unit '{}'; use {}", text, suffix, accepted)};
  }
  unsigned __int128 total = number.digits * scale;
  for (uint32_t i = 0; i < number.decimals; ++i) total /= 10;
  if (total > UINT64_MAX) return Failure{fmt::format("'{}' does not fit in 64 bits", text)};
  return static_cast<uint64_t>(total);
}

// Three significant digits of a value below 1,000 (0.5 and above 999.5 excepted by the callers).
std::string three_digits(double value) {
  return value < 9.995
             ? fmt::format("{:.2f}", value)
             : (value < 99.95 ? fmt::format("{:.1f}", value) : fmt::format("{:.0f}", value));
}

std::string round_scaled(double value, double step, std::span<const std::string_view> names) {
  size_t at = 0;
  while (value >= 999.5 && at + 1 < names.size()) {
    value /= step;
    ++at;
  }
  return fmt::format("{}{}", three_digits(value), names[at]);
}

}  // namespace

Outcome<uint64_t> parse_bytes(std::string_view text) {
  return parse_scaled(text, kByteUnits, 1, kByteUnitsAccepted);
}

Outcome<uint64_t> parse_duration_ns(std::string_view text, uint64_t bare_unit_ns) {
  return parse_scaled(text, kDurationUnits, bare_unit_ns, kDurationUnitsAccepted);
}

Outcome<uint64_t> parse_count(std::string_view text, uint64_t max) {
  uint64_t count = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (text.empty() || code != std::errc{} || end != text.data() + text.size() || count > max) {
    return Failure{fmt::format("'{}' is no whole number from 0 to {}", text, max)};
  }
  return count;
}

Outcome<double> parse_number(std::string_view text) {
  double number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || code != std::errc{} || end != text.data() + text.size() ||
      !std::isfinite(number)) {
    return Failure{fmt::format("'{}' is no number", text)};
  }
  return number;
}

std::string format_count(uint64_t count) {
  std::string text = std::to_string(count);
  for (size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

std::string format_bytes(uint64_t bytes) {
  return format_count(bytes) + " B";
}

std::string spell_bytes(uint64_t bytes) {
  constexpr std::string_view kSpelled[] = {"TiB", "GiB", "MiB", "KiB"};
  for (size_t i = 0; i < std::size(kSpelled); ++i) {
    const uint64_t scale = kByteUnits[i].scale;
    if (bytes >= scale && bytes % scale == 0) {
      return fmt::format("{}{}", bytes / scale, kSpelled[i]);
    }
  }
  return std::to_string(bytes);
}

std::string spell_duration(uint64_t duration_ns) {
  // Whole seconds stay seconds: "120s" compares with the documentation more easily than "2min".
  for (const Unit& unit : std::span(kDurationUnits).subspan(2)) {
    if (duration_ns % unit.scale == 0)
      return fmt::format("{}{}", duration_ns / unit.scale, unit.name);
  }
  return {};
}

std::string round_bytes(uint64_t bytes) {
  constexpr std::string_view kNames[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
  if (bytes < 1000) return fmt::format("{} B", bytes);
  return round_scaled(static_cast<double>(bytes), 1024, kNames);
}

std::string round_duration(uint64_t duration_ns) {
  constexpr std::string_view kNames[] = {" ns", " us", " ms", " s"};
  if (duration_ns < 1000) return fmt::format("{} ns", duration_ns);
  return round_scaled(static_cast<double>(duration_ns), 1000, kNames);
}

std::string round_count(double count) {
  constexpr std::string_view kNames[] = {"", " k", " M", " G", " T"};
  if (count < 999.5 && count == std::floor(count)) return fmt::format("{:.0f}", count);
  return round_scaled(count, 1000, kNames);
}

}  // namespace copykv
