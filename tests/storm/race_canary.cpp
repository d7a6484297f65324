// SPDX-License-Identifier: Apache-2.0
// Shows that ThreadSanitizer would find a broken publish: the same exchange of a line between two
// threads, once as it is and once with the release store replaced by a relaxed one.
//
//   race_canary             0: the bug was reported and the right code was not; 77: other build
//   race_canary --right     the exchange as it is
//   race_canary --broken    with the seeded bug
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string_view>
#include <thread>

#include "base/atomics.hpp"
#include "base/sanitizers.hpp"

namespace {

using namespace copykv;

constexpr int kSkipped = 77;
constexpr int kReported = 66;

struct Line {
  uint64_t head = 0;
  uint64_t body = 0;  // plain on purpose: only the head orders it
};

uint64_t exchange_a_line(bool broken) {
  // Not on the stack: there, clang 14 leaves some reads of the own thread out.
  const auto shared = std::make_unique<Line>();
  Line& line = *shared;
  std::thread writer([&] {
    line.body = 42;
    if (broken) {
      poke<uint64_t>(line.head, 1);
    } else {
      publish<uint64_t>(line.head, 1);
    }
  });
  while (observe(line.head) == 0) std::this_thread::yield();
  const uint64_t body = line.body;
  writer.join();
  return body;
}

/// Runs this program again; returns its exit code.
int run_again(const char* flag) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setenv("TSAN_OPTIONS", "exitcode=66:halt_on_error=1", 1);
    ::execl("/proc/self/exe", "race_canary", flag, nullptr);
    ::_exit(127);
  }
  int status = 0;
  (void)::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2) return exchange_a_line(std::string_view(argv[1]) == "--broken") == 42 ? 0 : 1;
  if (!COPYKV_TSAN) {
    fmt::print("skipped: only the thread-sanitizer build can report a race\n");
    return kSkipped;
  }
  const int right = run_again("--right");
  const int broken = run_again("--broken");
  fmt::print("release store: exit code {} (0 wanted); relaxed store: {} ({} wanted)\n", right,
             broken, kReported);
  return right == 0 && broken == kReported ? 0 : 1;
}
