// SPDX-License-Identifier: Apache-2.0
#include "sim/check/words.hpp"

#include <fmt/format.h>

#include "base/clock.hpp"

namespace copykv::sim {
namespace {

[[nodiscard]] std::string content_words(uint64_t value, bool number) {
  return number ? fmt::format("number {}", static_cast<int64_t>(value)) : value_words(value);
}

[[nodiscard]] std::string asked_words(const Operation& operation) {
  switch (operation.kind) {
    case Kind::put: {
      const std::string what = content_words(operation.argument, operation.number);
      switch (operation.when) {
        case When::always:
          return " of " + what;
        case When::if_absent:
          return " if absent of " + what;
        case When::if_present:
          return " if present of " + what;
        case When::if_version:
          return fmt::format(" if version {} of {}", operation.if_version, what);
      }
      return {};
    }
    case Kind::add:
      return fmt::format(" of {}", static_cast<int64_t>(operation.argument));
    default:
      return {};
  }
}

[[nodiscard]] std::string answer_words(const Operation& operation) {
  std::string text(to_string(operation.status));
  if (operation.status == Status::ok && operation.kind == Kind::get) {
    text += ", " + content_words(operation.observed, operation.number);
  }
  if (operation.status == Status::ok && operation.kind == Kind::add) {
    text += fmt::format(", sum {}", static_cast<int64_t>(operation.observed));
  }
  const bool of_item = operation.status == Status::condition_failed ||
                       (operation.status == Status::ok && operation.kind != Kind::del);
  if (of_item && operation.version != kNotTold) {
    text += fmt::format(", version {}", operation.version);
  }
  return text;
}

}  // namespace

std::string time_words(uint64_t ns) {
  if (ns < kNanosPerMilli) return fmt::format("{:.3f} us", static_cast<double>(ns) / 1e3);
  if (ns < kNanosPerSecond) return fmt::format("{:.6f} ms", static_cast<double>(ns) / 1e6);
  return fmt::format("{}.{:09} s", ns / kNanosPerSecond, ns % kNanosPerSecond);
}

std::string value_words(uint64_t value) {
  if (value == kUnread) return "a value that nobody read";
  return fmt::format("value {} of client {}", value & ((uint64_t{1} << kSequenceBits) - 1),
                     value >> kSequenceBits);
}

std::string operation_words(const Operation& operation, uint64_t origin_ns) {
  const std::string from = time_words(operation.begin_ns - origin_ns);
  const std::string to =
      operation.ended() ? "to " + time_words(operation.end_ns - origin_ns) : "on, never ended";
  if (operation.kind == Kind::wipe) {
    return fmt::format("death and restart of the owner from {} {}", from, to);
  }
  std::string text = fmt::format("{}{} by client {} from {} {}", to_string(operation.kind),
                                 asked_words(operation), operation.process, from, to);
  if (operation.ended()) text += ": " + answer_words(operation);
  if (operation.expires()) {
    text += "; its item vanishes after " + time_words(operation.expires_from_ns - origin_ns);
    if (operation.expires_until_ns != kOpen) {
      text += " and before " + time_words(operation.expires_until_ns - origin_ns);
    }
  }
  return text;
}

}  // namespace copykv::sim
