// SPDX-License-Identifier: Apache-2.0
// Assertions for our own bugs. Always on, in every build: a daemon that has lost its invariants
// must stop at once, with the values, rather than serve wrong data.
//
// Never assert on what a client or a peer wrote: that is input, and input gets a status.
#pragma once

#include <fmt/format.h>

#include <string>

namespace copykv {

/// Prints the failed condition with its place and values to stderr, then aborts.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line,
                                   const std::string& values) noexcept;

}  // namespace copykv

// COPYKV_ASSERT(a <= b, "a={} b={}", a, b): the values are formatted only on failure.
#define COPYKV_ASSERT(condition, ...)                                                            \
  do {                                                                                           \
    if (!(condition)) [[unlikely]]                                                               \
      ::copykv::assertion_failed(#condition, __FILE__, __LINE__, ::fmt::format("" __VA_ARGS__)); \
  } while (false)
