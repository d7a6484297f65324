// SPDX-License-Identifier: Apache-2.0
// Places where a test lets a process die, stop or leave: between any two steps of an operation.
//
//   poke(line.argument, delta);
//   COPYKV_FAULT_POINT("client.request_filled");
//   publish(line.head, head);
//
// Nothing is compiled unless COPYKV_FAULT_POINTS is defined, which only the test build of the
// client library does. There, COPYKV_FAULT="client.request_filled:3:kill" acts at the third
// passage:
//   kill   SIGKILL on itself        stop   SIGSTOP on itself        exit   _exit(9)
//
// In the checked build (base/checked.hpp) the simulation is told of each passage.
//
// A point is known from the moment that its code has been passed once; list_fault_points() then
// names it, so that a storm can visit every point that an operation really passes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#if defined(COPYKV_FAULT_POINTS)

namespace copykv {

/// One place in the code. Links itself into the list when it is first passed. Thread-safe.
class FaultPoint {
 public:
  explicit FaultPoint(const char* name) noexcept;
  void pass() noexcept;

 private:
  friend std::vector<std::string> list_fault_points();
  const char* name_;
  bool armed_ = false;  // COPYKV_FAULT names this point
  uint64_t passed_ = 0;
  FaultPoint* next_ = nullptr;
};

/// The names of all points passed so far, sorted, each once.
[[nodiscard]] std::vector<std::string> list_fault_points();

}  // namespace copykv

#define COPYKV_FAULT_POINT(name)                        \
  do {                                                  \
    static ::copykv::FaultPoint fault_point_here{name}; \
    fault_point_here.pass();                            \
  } while (false)

#elif defined(COPYKV_CHECKED)

#include "base/checked.hpp"

#define COPYKV_FAULT_POINT(name)                 \
  do {                                           \
    if (::copykv::Checked::on_step != nullptr) { \
      ::copykv::Checked::on_step(name);          \
    }                                            \
  } while (false)

#else

#define COPYKV_FAULT_POINT(name) \
  do {                           \
  } while (false)

#endif
