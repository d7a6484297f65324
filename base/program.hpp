// SPDX-License-Identifier: Apache-2.0
// The outermost frame of a program.
#pragma once

#include <cstdio>
#include <exception>

namespace copykv {

/// What `run(argc, argv)` returns; an exception that leaves it is told on stderr and ends in 1.
template <class Run>
[[nodiscard]] int run_program(const char* name, Run run, int argc, char** argv) noexcept {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace copykv
