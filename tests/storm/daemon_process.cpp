// SPDX-License-Identifier: Apache-2.0
#include "tests/storm/daemon_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "base/clock.hpp"

namespace copykv::storm {
namespace {

namespace fs = std::filesystem;

[[nodiscard]] std::string daemon_program() {
  if (const char* named = std::getenv("COPYKV_DAEMON"); named != nullptr) return named;
  const char* root = std::getenv("COPYKV_BUILD_ROOT");
  if (root != nullptr) return std::string(root) + "/daemon/copykvd";
  // This program stands in tests/storm of the same build.
  return fs::read_symlink("/proc/self/exe").parent_path() / "../../daemon/copykvd";
}

[[noreturn]] void become(const std::string& program, const std::vector<std::string>& arguments,
                         int output) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is ended leaves no daemon behind
  ::dup2(output, STDOUT_FILENO);
  std::vector<char*> pointers{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) {
    pointers.push_back(const_cast<char*>(argument.c_str()));
  }
  pointers.push_back(nullptr);
  ::execv(program.c_str(), pointers.data());
  ::_exit(127);
}

[[nodiscard]] size_t count_lines_with(const std::string& path, const std::string& word) {
  std::ifstream file(path);
  size_t lines = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.find(word) != std::string::npos) ++lines;
  }
  return lines;
}

}  // namespace

DaemonProcess::DaemonProcess(std::vector<std::string> flags, std::string runtime_dir)
    : flags_(std::move(flags)),
      owns_runtime_dir_(runtime_dir.empty()),
      runtime_dir_(std::move(runtime_dir)) {
  if (!owns_runtime_dir_) return;
  std::string pattern = (fs::temp_directory_path() / "copykv-storm-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp: " + pattern);
  runtime_dir_ = pattern;
}

DaemonProcess::~DaemonProcess() {
  if (pid_ > 0) (void)stop();
  std::error_code ignored;
  if (owns_runtime_dir_) fs::remove_all(runtime_dir_, ignored);
}

void DaemonProcess::start() {
  launch();
  await_ready();
}

void DaemonProcess::launch() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  output_ = Fd(ends[0]);
  Fd daemon_end(ends[1]);
  std::vector<std::string> arguments = {"--runtime-dir", runtime_dir_};
  arguments.insert(arguments.end(), flags_.begin(), flags_.end());
  const std::string program = daemon_program();
  pid_ = ::fork();
  if (pid_ == 0) become(program, arguments, daemon_end.get());
}

void DaemonProcess::await_ready() {
  std::string said;
  char byte;
  while (said.find('\n') == std::string::npos && ::read(output_.get(), &byte, 1) == 1) said += byte;
  if (said.rfind("ready", 0) != 0) {
    throw std::runtime_error(fmt::format("copykvd is not ready (code {}): {}", reap(0), said));
  }
}

int DaemonProcess::reap(int options) {
  int status = 0;
  if (::waitpid(pid_, &status, options) != pid_) return -1;
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void DaemonProcess::send_signal(int signal) const {
  ::kill(pid_, signal);
  // A stop takes effect thread by thread; the parent is told when the last one stands.
  if (signal == SIGSTOP) (void)::waitpid(pid_, nullptr, WUNTRACED);
}

void DaemonProcess::kill() {
  send_signal(SIGKILL);
  (void)reap(0);
}

int DaemonProcess::stop() {
  send_signal(SIGCONT);
  send_signal(SIGTERM);
  return reap(0);
}

bool DaemonProcess::running() const {
  return pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == 0;
}

Options DaemonProcess::client_options() const {
  Options options;
  options.runtime_dir = runtime_dir_;
  options.job = "default";
  return options;
}

Resources DaemonProcess::resources() const {
  Resources held;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator(fmt::format("/proc/{}/fd", pid_), gone)) {
    ++held.descriptors;
    const std::string target = fs::read_symlink(entry.path(), gone).string();
    if (target.find("memfd:copykv-client") != std::string::npos) ++held.client_memfds;
  }
  held.client_mappings =
      count_lines_with(fmt::format("/proc/{}/maps", pid_), "memfd:copykv-client");
  return held;
}

uint64_t DaemonProcess::cpu_ns() const {
  uint64_t total_ns = 0;
  std::error_code gone;
  for (const auto& task : fs::directory_iterator(fmt::format("/proc/{}/task", pid_), gone)) {
    std::ifstream file(task.path() / "schedstat");
    uint64_t on_cpu_ns = 0;  // the first number; finer than the ticks of `stat`
    file >> on_cpu_ns;
    total_ns += on_cpu_ns;
  }
  return total_ns;
}

uint64_t setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

Client attach_to(const DaemonProcess& daemon, Options options) {
  options.runtime_dir = daemon.client_options().runtime_dir;
  options.job = "default";
  AttachResult attached = Client::attach(options);
  if (!attached.client) throw std::runtime_error(attached.error);
  return std::move(*attached.client);
}

Client attach_to(const DaemonProcess& daemon) {
  return attach_to(daemon, {});
}

}  // namespace copykv::storm
