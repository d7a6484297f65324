// SPDX-License-Identifier: Apache-2.0
#include "bench/followers.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/clock.hpp"
#include "bench/interrupt.hpp"
#include "bench/local_rank.hpp"
#include "bench/run_control.hpp"

namespace copykv::bench {
namespace {

constexpr uint64_t kEndWithinNs = 15 * kNanosPerSecond;
constexpr useconds_t kLookEveryUs = 2'000;

[[noreturn]] void become_follower(RunOptions options, uint32_t rank, pid_t leader) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != leader) ::_exit(kExitRunFailed);
  ::signal(SIGINT, SIG_IGN);  // Ctrl-C reaches the whole group; rank 0 decides
  const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nowhere >= 0) ::dup2(nowhere, STDOUT_FILENO);  // a document may be on its way there
  options.rank = rank;
  ::_exit(follow(options));
}

}  // namespace

Outcome<Followers> Followers::start(const RunOptions& options) {
  Followers made;
  const pid_t leader = ::getpid();
  for (uint32_t rank = 1; rank < options.ranks; ++rank) {
    const pid_t pid = ::fork();
    if (pid == 0) become_follower(options, rank, leader);
    if (pid < 0)
      return Failure{fmt::format("rank {}: cannot fork: {}", rank, std::strerror(errno))};
    made.followers_.push_back({rank, pid});
  }
  return made;
}

Followers& Followers::operator=(Followers&& other) noexcept {
  std::swap(followers_, other.followers_);
  std::swap(told_, other.told_);
  std::swap(ended_, other.ended_);
  return *this;
}

Followers::~Followers() {
  tell(SIGTERM);  // they end their daemons in order
  (void)finish();
}

void Followers::tell(int signal) noexcept {
  for (const Follower& follower : followers_) {
    if (follower.pid > 0) ::kill(follower.pid, signal);
  }
}

std::string Followers::reap(Follower& follower, int options) {
  int status = 0;
  if (follower.pid <= 0 || ::waitpid(follower.pid, &status, options) != follower.pid) return {};
  follower.pid = -1;
  return describe_exit(status);
}

std::string Followers::look() {
  if (interrupted() && !std::exchange(told_, true)) tell(SIGTERM);
  for (Follower& follower : followers_) {
    const std::string how = reap(follower, WNOHANG);
    if (!how.empty() && ended_.empty()) {
      ended_ = fmt::format("the benchkv of rank {} {}", follower.rank, how);
    }
  }
  return ended_;
}

std::vector<std::string> Followers::finish() {
  std::vector<std::string> lines;
  const uint64_t give_up_ns = SystemClock().now_ns() + kEndWithinNs;
  for (Follower& follower : followers_) {
    while (follower.pid > 0) {
      const std::string how = reap(follower, WNOHANG);
      if (!how.empty() && how != describe_exit(0)) {
        lines.push_back(fmt::format("the benchkv of rank {} {}", follower.rank, how));
      }
      if (follower.pid > 0 && SystemClock().now_ns() >= give_up_ns) {
        lines.push_back(fmt::format("the benchkv of rank {} did not end", follower.rank));
        ::kill(follower.pid, SIGKILL);
        (void)reap(follower, 0);
      }
      if (follower.pid > 0) ::usleep(kLookEveryUs);
    }
  }
  return lines;
}

}  // namespace copykv::bench
