// SPDX-License-Identifier: Apache-2.0
// One rank for mpirun_test.py: no MPI program, meets the others and prints their cards.
//
//   mpirun_rank URL [--child] [--absent RANK] [--deadline-ms MS] [--shift]
//     --child    the meeting takes place in a child process, as that of a launched benchkv does
//     --absent   this rank does not come
//     --shift    says to be the next rank
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "base/launcher.hpp"
#include "daemon/bootstrap/bootstrap.hpp"

namespace {

using namespace copykv;

int meet(const BootstrapOptions& options, const std::string& launcher) {
  auto bootstrap = Bootstrap::make(options);
  if (!bootstrap) {
    fmt::print(stderr, "mpirun_rank: {}\n", bootstrap.error);
    return 1;
  }
  const std::string card = fmt::format("card{}", options.rank) + std::string(4096, 'x');
  const auto cards = (*bootstrap)->exchange(card);
  if (!cards) {
    fmt::print(stderr, "mpirun_rank: {}\n", cards.error);
    return 1;
  }
  std::string line = fmt::format("rank {} of {} by {}:", options.rank, options.ranks, launcher);
  for (const std::string& other : *cards) {
    line += fmt::format(" {}+{}", other.substr(0, other.find('x')), other.size());
  }
  fmt::print("{}\n", line);
  std::fflush(stdout);
  return 0;
}

int in_child(const BootstrapOptions& options, const std::string& launcher) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(meet(options, launcher));
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const auto launch = find_launch();
  if (!launch || !launch->has_value()) {
    fmt::print(stderr, "mpirun_rank: {}\n", launch ? "no launcher" : launch.error);
    return 2;
  }
  BootstrapOptions options;
  options.url = argc > 1 ? argv[1] : "";
  options.job = "mpirun-test";
  options.rank = (*launch)->rank;
  options.ranks = (*launch)->ranks.value_or(1);
  options.secret = "0123456789abcdef";
  bool child = false;
  for (int at = 2; at < argc; ++at) {
    if (std::strcmp(argv[at], "--child") == 0) child = true;
    if (std::strcmp(argv[at], "--shift") == 0) options.rank = (options.rank + 1) % options.ranks;
    if (at + 1 == argc) continue;
    const auto number = std::strtoul(argv[at + 1], nullptr, 10);
    if (std::strcmp(argv[at], "--deadline-ms") == 0) options.deadline_ms = number;
    if (std::strcmp(argv[at], "--absent") == 0 && options.rank == number) {
      ::sleep(10);  // alive, or mpirun would end the others before they can say anything
      return 0;
    }
  }
  const std::string& launcher = (*launch)->launcher;
  return child ? in_child(options, launcher) : meet(options, launcher);
}
