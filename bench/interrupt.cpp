// SPDX-License-Identifier: Apache-2.0
#include "bench/interrupt.hpp"

#include <signal.h>

namespace copykv::bench {
namespace {

volatile sig_atomic_t interrupts_seen = 0;

extern "C" void note_interrupt(int) {
  interrupts_seen = 1;
}

}  // namespace

void watch_interrupts() noexcept {
  struct sigaction action {};
  action.sa_handler = note_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND | static_cast<unsigned>(SA_RESTART));
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() noexcept {
  return interrupts_seen != 0;
}

}  // namespace copykv::bench
