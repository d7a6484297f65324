// SPDX-License-Identifier: Apache-2.0
// The result of a set-up step: a value, or one line that names what failed and the remedy. The data
// path uses Status instead (copykv/status.hpp).
//
//   Outcome<Segment> made = Segment::create(...);
//   if (!made) return Failure{made.error};     // the line travels up unchanged
//   use(*made);
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace copykv {

/// The error side of any Outcome. `line` ends without a newline.
struct Failure {
  std::string line;
};

template <class T>
struct [[nodiscard]] Outcome {
  std::optional<T> value{};
  std::string error{};  ///< empty exactly when there is a value

  Outcome(T made) : value(std::move(made)) {}                   // NOLINT: implicit by intent
  Outcome(Failure failure) : error(std::move(failure.line)) {}  // NOLINT: implicit by intent

  [[nodiscard]] explicit operator bool() const noexcept { return value.has_value(); }
  [[nodiscard]] T& operator*() noexcept { return *value; }
  [[nodiscard]] const T& operator*() const noexcept { return *value; }
  [[nodiscard]] T* operator->() noexcept { return &*value; }
  [[nodiscard]] const T* operator->() const noexcept { return &*value; }
};

/// A step that makes nothing: done, or the error line.
template <>
struct [[nodiscard]] Outcome<void> {
  std::string error{};

  Outcome() = default;
  Outcome(Failure failure) : error(std::move(failure.line)) {}  // NOLINT: implicit by intent

  [[nodiscard]] explicit operator bool() const noexcept { return error.empty(); }
};

}  // namespace copykv
