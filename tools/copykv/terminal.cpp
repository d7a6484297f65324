// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/terminal.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.hpp"
#include "tools/copykv/command.hpp"

namespace copykv::tools {
namespace {

// ANSI: the second screen, no cursor; and back.
constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l";
constexpr std::string_view kLeave = "\x1b[?25h\x1b[?1049l";
constexpr std::string_view kHome = "\x1b[H";
constexpr std::string_view kClearLine = "\x1b[K";
constexpr std::string_view kClearBelow = "\x1b[J";

constexpr size_t kPlainColumns = 200;  // of frames in a file or a pipe

volatile sig_atomic_t g_leave = 0;

void on_leave(int) {
  g_leave = 1;
}
void on_resize(int) {}  // only ends the wait

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  (void)::sigaction(signal, &action, nullptr);
}

std::optional<winsize> window() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return std::nullopt;
  return size;
}

}  // namespace

Screen::Screen(bool full) : full_screen_(full && ::isatty(STDOUT_FILENO) == 1) {
  sigset_t held;
  sigemptyset(&held);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    handle(signal, on_leave);
    sigaddset(&held, signal);
  }
  handle(SIGWINCH, on_resize);
  sigaddset(&held, SIGWINCH);
  (void)::pthread_sigmask(SIG_BLOCK, &held, &signals_before_);

  termios state{};
  if (full_screen_ && ::tcgetattr(STDIN_FILENO, &state) == 0) {
    before_ = state;
    state.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    state.c_cc[VSUSP] = _POSIX_VDISABLE;  // a stopped program would keep the screen
    (void)::tcsetattr(STDIN_FILENO, TCSANOW, &state);
  }
  if (full_screen_) write_out(kEnter);
}

Screen::~Screen() {
  if (full_screen_) (void)!::write(STDOUT_FILENO, kLeave.data(), kLeave.size());
  if (before_) (void)::tcsetattr(STDIN_FILENO, TCSANOW, &*before_);
  (void)::pthread_sigmask(SIG_SETMASK, &signals_before_, nullptr);
}

size_t Screen::columns() const {
  const auto size = window();
  return full_screen_ && size ? size->ws_col : kPlainColumns;
}

void Screen::draw(const std::vector<std::string>& lines) const {
  const auto size = window();
  const size_t rows = full_screen_ && size ? std::max<size_t>(size->ws_row, 2) - 1 : lines.size();
  std::string text(full_screen_ ? kHome : "");
  for (size_t row = 0; row < std::min(rows, lines.size()); ++row) {
    text += lines[row];
    if (full_screen_) text += kClearLine;
    text += '\n';
  }
  if (full_screen_) text += kClearBelow;
  write_out(text);
  flush_out();
}

bool Screen::wait(uint64_t duration_ns) const {
  const SystemClock clock;
  const uint64_t end_ns = clock.now_ns() + duration_ns;
  while (g_leave == 0) {
    const uint64_t now_ns = clock.now_ns();
    if (now_ns >= end_ns) return true;
    const uint64_t left_ns = end_ns - now_ns;
    const timespec limit{static_cast<time_t>(left_ns / kNanosPerSecond),
                         static_cast<long>(left_ns % kNanosPerSecond)};
    pollfd input{before_ ? STDIN_FILENO : -1, POLLIN, 0};
    const int ready = ::ppoll(&input, 1, &limit, &signals_before_);
    if (ready < 0 && errno == EINTR && g_leave == 0) return true;  // resized: draw at once
    char key = 0;
    if (ready > 0 && (::read(STDIN_FILENO, &key, 1) != 1 || key == 'q')) return false;
  }
  return false;
}

}  // namespace copykv::tools
