// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/time_limit.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.hpp"
#include "tools/copykv/command.hpp"

namespace copykv::tools {
namespace {

// Formatted ahead: a signal handler may only write(2) and _exit(2).
char g_line[512];
size_t g_line_bytes = 0;

void end_process(int) {
  (void)!::write(STDERR_FILENO, g_line, g_line_bytes);
  ::_exit(static_cast<int>(Exit::error));
}

}  // namespace

TimeLimit::TimeLimit(uint64_t limit_ns, std::string_view line) : limit_ns_(limit_ns) {
  const auto written = fmt::format_to_n(g_line, sizeof(g_line), "copykv: {}\n", line);
  g_line_bytes = std::min(written.size, sizeof(g_line));
  struct sigaction action {};
  action.sa_handler = end_process;
  (void)::sigaction(SIGALRM, &action, nullptr);
  restart();
}

void TimeLimit::restart() const noexcept {
  // 0 would mean no limit at all.
  const uint64_t limit_us = std::max<uint64_t>(limit_ns_ / kNanosPerMicro, 1);
  itimerval timer{};
  timer.it_value.tv_sec = static_cast<time_t>(limit_us / 1'000'000);
  timer.it_value.tv_usec = static_cast<suseconds_t>(limit_us % 1'000'000);
  (void)::setitimer(ITIMER_REAL, &timer, nullptr);
}

void TimeLimit::pause() const noexcept {
  const itimerval off{};
  (void)::setitimer(ITIMER_REAL, &off, nullptr);
}

}  // namespace copykv::tools
