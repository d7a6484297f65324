// SPDX-License-Identifier: Apache-2.0
#include "bench/fork_map.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>

#include "base/fd.hpp"
#include "bench/interrupt.hpp"

namespace copykv::bench {
namespace {

struct Child {
  size_t number = 0;
  pid_t pid = -1;
  Fd from{};
};

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(fd, text.data(), text.size());
    if (wrote < 0 && errno != EINTR) ::_exit(2);
    if (wrote > 0) text.remove_prefix(static_cast<size_t>(wrote));
  }
}

[[noreturn]] void become_child(size_t number, const std::function<std::string(size_t)>& work,
                               int to, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(2);
  try {
    write_all(to, work(number));
  } catch (const std::exception& error) {
    write_all(to, error.what());
    ::_exit(1);
  }
  ::_exit(0);
}

/// Whether it has ended; else its output has grown.
bool read_some(Child& child, std::string& into) {
  char buffer[1U << 16];
  const ssize_t got = ::read(child.from.get(), buffer, sizeof(buffer));
  if (got > 0) into.append(buffer, static_cast<size_t>(got));
  return got == 0 || (got < 0 && errno != EINTR);
}

Outcome<Child> start(size_t number, const std::function<std::string(size_t)>& work) {
  int ends[2];
  if (::pipe(ends) != 0) return Failure{fmt::format("no more pipes: {}", std::strerror(errno))};
  Child child{number, -1, Fd(ends[0])};
  const Fd to(ends[1]);
  const pid_t parent = ::getpid();
  child.pid = ::fork();
  if (child.pid == 0) become_child(number, work, to.get(), parent);
  if (child.pid < 0) return Failure{fmt::format("cannot fork: {}", std::strerror(errno))};
  return child;
}

}  // namespace

uint32_t usable_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return 1;
  return static_cast<uint32_t>(std::max(1, CPU_COUNT(&allowed)));
}

Outcome<std::vector<std::string>> fork_map(size_t count, uint32_t jobs,
                                           const std::function<std::string(size_t)>& work) {
  std::vector<std::string> results(count);
  std::vector<Child> running;
  std::string failure;
  size_t next = 0;
  while (!running.empty() || (next < count && failure.empty())) {
    while (failure.empty() && next < count && running.size() < jobs) {
      auto started = start(next, work);
      if (!started) {
        failure = started.error;
        break;
      }
      running.push_back(std::move(*started));
      ++next;
    }
    std::vector<pollfd> waiting;
    waiting.reserve(running.size());
    for (const Child& child : running) waiting.push_back({child.from.get(), POLLIN, 0});
    (void)::poll(waiting.data(), waiting.size(), -1);
    if (interrupted() && failure.empty()) failure = "interrupted";
    for (size_t i = running.size(); i > 0; --i) {
      Child& child = running[i - 1];
      if (!failure.empty()) ::kill(child.pid, SIGKILL);
      if (failure.empty() && waiting[i - 1].revents == 0) continue;
      if (failure.empty() && !read_some(child, results[child.number])) continue;
      int status = 0;
      while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
      }
      if (status != 0 && failure.empty()) {
        const std::string& said = results[child.number];
        failure = WIFEXITED(status) && !said.empty()
                      ? said
                      : fmt::format("a child process ended with status {}", status);
      }
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(i - 1));
    }
  }
  if (!failure.empty()) return Failure{failure};
  return results;
}

}  // namespace copykv::bench
