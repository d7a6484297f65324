// SPDX-License-Identifier: Apache-2.0
#include "bench/local_rank.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/clock.hpp"

namespace copykv::bench {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kReadyWithinNs = 60 * kNanosPerSecond;
constexpr uint64_t kEndsWithinNs = 10 * kNanosPerSecond;
constexpr const char* kLogName = "copykvd.log";

std::string describe_exit(int status) {
  if (WIFSIGNALED(status)) return fmt::format("was killed by signal {}", WTERMSIG(status));
  return fmt::format("ended with code {}", WEXITSTATUS(status));
}

Outcome<std::string> make_private_dir() {
  const char* const xdg = std::getenv("XDG_RUNTIME_DIR");
  std::error_code error;
  const bool xdg_usable = xdg != nullptr && ::access(xdg, W_OK | X_OK) == 0;
  std::string path = fmt::format("{}/benchkv-XXXXXX", xdg_usable ? xdg : "/tmp");
  if (::mkdtemp(path.data()) == nullptr) {
    return Failure{fmt::format("cannot make {}: {}", path, std::strerror(errno))};
  }
  return path;
}

// In the child: nothing but what is safe after fork.
[[noreturn]] void become_daemon(const std::vector<char*>& arguments, const char* runtime_dir,
                                int out, int log) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // no daemon outlives the benchmark that started it
  ::setpgid(0, 0);                     // Ctrl-C is for benchkv, which ends the daemon in order
  ::dup2(out, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::setenv("COPYKV_RUNTIME_DIR", runtime_dir, 1);
  ::execv(arguments[0], arguments.data());
  const char message[] = "cannot execute the daemon\n";
  (void)!::write(STDERR_FILENO, message, sizeof(message) - 1);
  ::_exit(127);
}

}  // namespace

Outcome<std::string> find_daemon() {
  if (const char* const named = std::getenv("COPYKV_DAEMON")) {
    if (::access(named, X_OK) == 0) return std::string(named);
    return Failure{fmt::format("COPYKV_DAEMON={} cannot be executed", named)};
  }
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& candidate : {here / "copykvd", here.parent_path() / "daemon" / "copykvd",
                                    here.parent_path().parent_path() / "daemon" / "copykvd"}) {
    if (::access(candidate.c_str(), X_OK) == 0) return candidate.string();
  }
  return Failure{fmt::format(
      "no copykvd in {} or {}/daemon; build or install it, or set COPYKV_DAEMON to its path",
      here.string(), here.parent_path().string())};
}

Outcome<LocalRank> LocalRank::start(const RankSpec& spec) {
  const Outcome<std::string> program = find_daemon();
  if (!program) return Failure{program.error};
  Outcome<std::string> dir = make_private_dir();
  if (!dir) return Failure{dir.error};
  LocalRank rank;
  rank.runtime_dir_ = *dir;
  if (const auto spawned = rank.spawn(*program, spec); !spawned) return Failure{spawned.error};
  if (const auto ready = rank.await_ready(); !ready) return Failure{ready.error};
  return rank;
}

LocalRank& LocalRank::operator=(LocalRank&& other) noexcept {
  runtime_dir_ = std::exchange(other.runtime_dir_, {});
  pid_ = std::exchange(other.pid_, -1);
  daemon_stdout_ = std::move(other.daemon_stdout_);
  return *this;
}

LocalRank::~LocalRank() {
  if (pid_ > 0) (void)stop();
  std::error_code error;
  if (!runtime_dir_.empty()) fs::remove_all(runtime_dir_, error);
}

Outcome<void> LocalRank::spawn(const std::string& program, const RankSpec& spec) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return Failure{fmt::format("cannot make a pipe: {}", std::strerror(errno))};
  }
  daemon_stdout_ = Fd(ends[0]);
  const Fd out(ends[1]);
  const std::string log_path = fmt::format("{}/{}", runtime_dir_, kLogName);
  const Fd log(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return Failure{fmt::format("cannot write {}: {}", log_path, std::strerror(errno))};

  std::vector<std::string> words = {program,
                                    "--job",
                                    kJob,
                                    "--rank",
                                    "0",
                                    "--ranks",
                                    "1",
                                    "--daemon-threads",
                                    std::to_string(spec.daemon_threads),
                                    "--memory",
                                    std::to_string(spec.memory_bytes),
                                    "--wait",
                                    spec.wait};
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) become_daemon(arguments, runtime_dir_.c_str(), out.get(), log.get());
  if (pid_ < 0) return Failure{fmt::format("cannot fork: {}", std::strerror(errno))};
  return {};
}

Outcome<void> LocalRank::await_ready() {
  const SystemClock clock;
  const uint64_t deadline_ns = clock.now_ns() + kReadyWithinNs;
  std::string text;
  for (;;) {
    pollfd readable{daemon_stdout_.get(), POLLIN, 0};
    const uint64_t now_ns = clock.now_ns();
    if (now_ns >= deadline_ns) {
      return Failure{fmt::format("copykvd was not ready after {} s: {}",
                                 kReadyWithinNs / kNanosPerSecond, last_words())};
    }
    const auto left_ms = static_cast<int>((deadline_ns - now_ns) / kNanosPerMilli + 1);
    if (::poll(&readable, 1, left_ms) <= 0) continue;
    char bytes[512];
    const ssize_t got = ::read(daemon_stdout_.get(), bytes, sizeof(bytes));
    if (got <= 0) {
      int status = 0;
      ::waitpid(std::exchange(pid_, -1), &status, 0);
      return Failure{fmt::format("copykvd {}: {}", describe_exit(status), last_words())};
    }
    text.append(bytes, static_cast<size_t>(got));
    if (text.starts_with("ready") || text.find("\nready") != std::string::npos) return {};
  }
}

Outcome<void> LocalRank::stop() {
  if (pid_ <= 0) return {};
  const pid_t pid = std::exchange(pid_, -1);
  int status = 0;
  if (::waitpid(pid, &status, WNOHANG) == pid) {
    return Failure{
        fmt::format("copykvd {} during the run: {}", describe_exit(status), last_words())};
  }
  ::kill(pid, SIGTERM);
  const SystemClock clock;
  const uint64_t deadline_ns = clock.now_ns() + kEndsWithinNs;
  while (clock.now_ns() < deadline_ns) {
    if (::waitpid(pid, &status, WNOHANG) == pid) {
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
      return Failure{fmt::format("copykvd {} on SIGTERM: {}", describe_exit(status), last_words())};
    }
    ::usleep(2'000);
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, &status, 0);
  return Failure{fmt::format("copykvd did not end within {} s of SIGTERM and was killed",
                             kEndsWithinNs / kNanosPerSecond)};
}

std::string LocalRank::last_words() const {
  constexpr size_t kLinesShown = 5;
  std::ifstream log(fmt::format("{}/{}", runtime_dir_, kLogName));
  std::vector<std::string> lines;
  for (std::string line; std::getline(log, line);) lines.push_back(line);
  if (lines.empty()) return "it said nothing on stderr";
  std::string text;
  for (size_t i = lines.size() - std::min(lines.size(), kLinesShown); i < lines.size(); ++i) {
    text += (text.empty() ? "" : " | ") + lines[i];
  }
  return text;
}

}  // namespace copykv::bench
