// SPDX-License-Identifier: Apache-2.0
// One copykvd for one test: a private runtime directory, started, awaited, killed, restarted, and
// looked at from outside through /proc. The program is $COPYKV_BUILD_ROOT/daemon/copykvd, else the
// one of the build that the test belongs to.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <copykv/client.hpp>

#include "base/fd.hpp"

namespace copykv::storm {

/// What a process holds, as the kernel counts it.
struct Resources {
  size_t descriptors = 0;
  size_t client_memfds = 0;    ///< descriptors of client segments
  size_t client_mappings = 0;  ///< mappings of client segments
  bool operator==(const Resources&) const = default;
};

class DaemonProcess {
 public:
  /// `runtime_dir` given: it is used and left, so that the ranks of a job can share one.
  explicit DaemonProcess(std::vector<std::string> flags = {"--memory", "64MiB"},
                         std::string runtime_dir = {});
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;
  ~DaemonProcess();

  /// Starts and waits for the line `ready`. Throws std::runtime_error with what the daemon said.
  void start();
  /// The two halves of start, for daemons that wait for each other.
  void launch();
  void await_ready();
  /// For the next start().
  void set_flags(std::vector<std::string> flags) { flags_ = std::move(flags); }
  /// kill -9, and waits for the end.
  void kill();
  void send_signal(int signal) const;
  /// SIGTERM; returns the exit code, or 128 + signal.
  int stop();
  [[nodiscard]] bool running() const;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] const std::string& runtime_dir() const { return runtime_dir_; }
  [[nodiscard]] std::string socket_path() const { return runtime_dir_ + "/default/rank0.sock"; }
  /// Options that find this daemon.
  [[nodiscard]] Options client_options() const;
  [[nodiscard]] Resources resources() const;
  /// User and system time used so far.
  [[nodiscard]] uint64_t cpu_ns() const;

 private:
  int reap(int options);

  std::vector<std::string> flags_;
  const bool owns_runtime_dir_;
  std::string runtime_dir_;
  pid_t pid_ = -1;
  Fd output_;  ///< of the daemon: stdout
};

/// A number from the environment, for the length of a run.
[[nodiscard]] uint64_t setting(const char* name, uint64_t otherwise);

/// A client of this daemon; throws std::runtime_error with the attach error.
[[nodiscard]] Client attach_to(const DaemonProcess& daemon, Options options);
[[nodiscard]] Client attach_to(const DaemonProcess& daemon);

/// Runs `work` in a child process, which ends with the code it returns, 97 when it throws, and with
/// its parent in any case. Returns the child's pid.
template <class Work>
pid_t in_child(Work work) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int code = 97;
  try {
    code = work();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "child: %s\n", error.what());
  }
  ::_exit(code);
}

}  // namespace copykv::storm
