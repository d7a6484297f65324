// SPDX-License-Identifier: Apache-2.0
// A full screen on the terminal, given back as it was. Where stdout is no terminal, frames follow
// one another as plain text.
#pragma once

#include <signal.h>
#include <termios.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace copykv::tools {

class Screen {
 public:
  /// `full`: take the whole screen, if stdout is a terminal.
  /// Holds back SIGINT, SIGTERM, SIGHUP and SIGWINCH, in threads started later, too: they are taken
  /// in wait() only, so that none can leave the terminal as it is during a frame.
  explicit Screen(bool full);
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen();

  [[nodiscard]] size_t columns() const;
  void draw(const std::vector<std::string>& lines) const;

  /// Waits. False: the user wants to leave (q, or one of the signals).
  [[nodiscard]] bool wait(uint64_t duration_ns) const;

 private:
  bool full_screen_ = false;
  std::optional<termios> before_{};  // of stdin, when it is a terminal
  sigset_t signals_before_{};
};

}  // namespace copykv::tools
