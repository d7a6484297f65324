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
constexpr int kLookEveryMs = 50;

// In the child: nothing but what is safe after fork.
[[noreturn]] void become_daemon(const std::vector<char*>& arguments, const char* runtime_dir,
                                int out, int log, pid_t parent) {
  // No daemon outlives the benchmark that started it. Not SIGTERM: libfabric's shared memory has a
  // handler for it that can wait for itself while an endpoint is being opened.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  ::setpgid(0, 0);  // Ctrl-C is for benchkv, which ends the daemon in order
  ::dup2(out, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::setenv("COPYKV_RUNTIME_DIR", runtime_dir, 1);
  ::execv(arguments[0], arguments.data());
  const char message[] = "cannot execute the daemon\n";
  (void)!::write(STDERR_FILENO, message, sizeof(message) - 1);
  ::_exit(127);
}

}  // namespace

std::string describe_exit(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return fmt::format("was killed by signal {}", WTERMSIG(wait_status));
  }
  return fmt::format("ended with code {}", WEXITSTATUS(wait_status));
}

Outcome<PrivateDir> PrivateDir::make() {
  const char* const xdg = std::getenv("XDG_RUNTIME_DIR");
  const bool xdg_usable = xdg != nullptr && ::access(xdg, W_OK | X_OK) == 0;
  PrivateDir dir;
  std::string path = fmt::format("{}/benchkv-XXXXXX", xdg_usable ? xdg : "/tmp");
  if (::mkdtemp(path.data()) == nullptr) {
    return Failure{fmt::format("cannot make {}: {}", path, std::strerror(errno))};
  }
  dir.path_ = std::move(path);
  return dir;
}

PrivateDir::~PrivateDir() {
  std::error_code error;
  if (!path_.empty()) fs::remove_all(path_, error);
}

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

Outcome<LocalRank> LocalRank::start(const RankSpec& spec, const Trouble& trouble) {
  const Outcome<std::string> program = find_daemon();
  if (!program) return Failure{program.error};
  LocalRank rank;
  rank.runtime_dir_ = spec.runtime_dir;
  if (spec.runtime_dir.empty()) {
    Outcome<PrivateDir> dir = PrivateDir::make();
    if (!dir) return Failure{dir.error};
    rank.private_dir_ = std::move(*dir);
    rank.runtime_dir_ = rank.private_dir_.path();
  }
  rank.log_path_ = fmt::format("{}/{}-rank{}.log", rank.runtime_dir_, spec.job, spec.rank);
  if (const auto spawned = rank.spawn(*program, spec); !spawned) return Failure{spawned.error};
  if (const auto ready = rank.await_ready(trouble); !ready) return Failure{ready.error};
  return rank;
}

LocalRank& LocalRank::operator=(LocalRank&& other) noexcept {
  private_dir_ = std::move(other.private_dir_);
  runtime_dir_ = std::exchange(other.runtime_dir_, {});
  log_path_ = std::exchange(other.log_path_, {});
  pid_ = std::exchange(other.pid_, -1);
  daemon_stdout_ = std::move(other.daemon_stdout_);
  return *this;
}

LocalRank::~LocalRank() {
  if (pid_ > 0) (void)stop();
}

Outcome<void> LocalRank::spawn(const std::string& program, const RankSpec& spec) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return Failure{fmt::format("cannot make a pipe: {}", std::strerror(errno))};
  }
  daemon_stdout_ = Fd(ends[0]);
  const Fd out(ends[1]);
  const Fd log(::open(log_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!log) return Failure{fmt::format("cannot write {}: {}", log_path_, std::strerror(errno))};

  std::vector<std::string> words = {program,
                                    "--job",
                                    spec.job,
                                    "--rank",
                                    std::to_string(spec.rank),
                                    "--ranks",
                                    std::to_string(spec.ranks),
                                    "--rendezvous",
                                    spec.rendezvous,
                                    "--transport",
                                    spec.transport,
                                    "--flush",
                                    spec.flush,
                                    "--peer-timeout",
                                    fmt::format("{}ns", spec.peer_timeout_ns),
                                    "--daemon-threads",
                                    std::to_string(spec.daemon_threads),
                                    "--memory",
                                    std::to_string(spec.memory_bytes),
                                    "--wait",
                                    spec.wait};
  if (spec.stations) words.push_back("--record-stations");
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) become_daemon(arguments, runtime_dir_.c_str(), out.get(), log.get(), parent);
  if (pid_ < 0) return Failure{fmt::format("cannot fork: {}", std::strerror(errno))};
  return {};
}

Outcome<void> LocalRank::await_ready(const Trouble& trouble) {
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
    if (::poll(&readable, 1, kLookEveryMs) <= 0) {
      if (std::string line = trouble(); !line.empty()) return Failure{std::move(line)};
      continue;
    }
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
  std::ifstream log(log_path_);
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
