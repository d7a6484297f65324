// SPDX-License-Identifier: Apache-2.0
#include "base/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace copykv {

void assertion_failed(const char* condition, const char* file, int line,
                      const std::string& values) noexcept {
  std::fprintf(stderr, "copykv: bug: assertion failed at %s:%d: %s%s%s\n", file, line, condition,
               values.empty() ? "" : ": ", values.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace copykv
