// SPDX-License-Identifier: Apache-2.0
// The director's side of the crew.
#include "bench/crew.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "bench/interrupt.hpp"
#include "bench/progress.hpp"
#include "shm/wake.hpp"

namespace copykv::bench {
namespace {

constexpr useconds_t kLookEveryUs = 2'000;
constexpr uint64_t kAnswersWithinNs = 10 * kNanosPerSecond;

Window make_window(uint64_t start_ns, uint64_t duration_ns) noexcept {
  const uint64_t end_ns = start_ns + duration_ns;
  // An overloaded service may take as long again for what was due within the run.
  const uint64_t send_until_ns = end_ns + std::max(duration_ns, kNanosPerSecond);
  return {start_ns, end_ns, send_until_ns, send_until_ns + kAnswersWithinNs};
}

std::string no_trouble() {
  return {};
}

}  // namespace

Outcome<std::unique_ptr<Crew>> Crew::start(const CrewPlan& plan) {
  std::unique_ptr<Crew> crew(new Crew(plan));
  if (const auto shared = crew->share_memory(); !shared) return Failure{shared.error};
  for (uint32_t client = 0; client < plan.options.client_threads; ++client) {
    if (const auto started = crew->start_member(client); !started) return Failure{started.error};
  }
  Progress silent;
  const auto failures = crew->command(Command::attach, silent, no_trouble);
  if (!failures.empty()) return Failure{failures.front()};
  return crew;
}

Outcome<void> Crew::share_memory() {
  const size_t cells_offset =
      (sizeof(CrewControl) + alignof(CrewCell) - 1) & ~(alignof(CrewCell) - 1);
  shared_bytes_ = cells_offset + plan_.options.client_threads * sizeof(CrewCell);
  void* const memory = ::mmap(nullptr, shared_bytes_, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) {
    return Failure{
        fmt::format("cannot map {} B for the clients: {}", shared_bytes_, std::strerror(errno))};
  }
  control_ = static_cast<CrewControl*>(memory);  // all zero, which is its first state
  cells_ = reinterpret_cast<CrewCell*>(static_cast<std::byte*>(memory) + cells_offset);
  return {};
}

Outcome<void> Crew::start_member(uint32_t client) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return Failure{
        fmt::format("client {}: no pipe: {}; raise ulimit -n", client, std::strerror(errno))};
  }
  Member member;
  member.results = Fd(ends[0]);
  Fd write_end(ends[1]);
  CrewControl& control = *control_;
  CrewCell& cell = cells_[client];
  if (!plan_.options.client_processes) {
    member.thread =
        std::thread([&plan = plan_, client, &control, &cell, fd = std::move(write_end)] {
          client_main(plan, client, control, cell, fd.get());
        });
  } else {
    member.pid = ::fork();
    if (member.pid < 0) {
      return Failure{fmt::format("client {}: cannot fork: {}", client, std::strerror(errno))};
    }
    if (member.pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::signal(SIGINT, SIG_IGN);  // Ctrl-C reaches the whole group; the director decides
      ::signal(SIGTERM, SIG_DFL);
      client_main(plan_, client, control, cell, write_end.get());
      ::_exit(0);
    }
  }
  members_.push_back(std::move(member));
  return {};
}

Crew::~Crew() {
  if (control_ != nullptr) {
    poke(control_->stop, uint32_t{1});
    control_->command = Command::quit;
    publish(control_->sequence, control_->sequence + 1);
    wake_futex(control_->sequence);
  }
  for (Member& member : members_) {
    if (member.thread.joinable()) member.thread.join();
    if (member.pid > 0 && !member.dead) ::waitpid(member.pid, nullptr, 0);
  }
  if (control_ != nullptr) ::munmap(control_, shared_bytes_);
}

std::vector<std::string> Crew::command(Command what, Progress& progress, const Trouble& trouble) {
  const uint32_t number = control_->sequence + 1;
  control_->command = what;
  publish(control_->sequence, number);
  wake_futex(control_->sequence);
  std::vector<std::string> deaths;
  std::string troubled;
  for (;;) {
    bool all_done = true;
    for (size_t i = 0; i < members_.size(); ++i) {
      all_done = all_done && (members_[i].dead || observe(cells_[i].done) >= number);
    }
    if (all_done) break;
    if (troubled.empty()) troubled = trouble();
    if (interrupted() || !troubled.empty()) poke(control_->stop, uint32_t{1});
    for (std::string& line : reap_dead()) deaths.push_back(std::move(line));
    progress.tick(cells());
    ::usleep(kLookEveryUs);
  }
  std::vector<std::string> failures;  // causes before consequences
  if (!troubled.empty()) failures.push_back(std::move(troubled));
  for (size_t i = 0; i < members_.size(); ++i) {
    if (cells_[i].error[0] == '\0') continue;
    failures.push_back(fmt::format("client {}: {}", i, cells_[i].error));
    cells_[i].error[0] = '\0';
  }
  failures.insert(failures.end(), deaths.begin(), deaths.end());
  return failures;
}

std::vector<std::string> Crew::reap_dead() {
  std::vector<std::string> lines;
  for (size_t i = 0; i < members_.size(); ++i) {
    Member& member = members_[i];
    int status = 0;
    if (member.pid <= 0 || member.dead || ::waitpid(member.pid, &status, WNOHANG) == 0) continue;
    member.dead = true;
    poke(control_->stop, uint32_t{1});  // a run without one of its clients is no run
    lines.push_back(WIFSIGNALED(status)
                        ? fmt::format("client {} was killed by signal {}", i, WTERMSIG(status))
                        : fmt::format("client {} ended with code {}", i, WEXITSTATUS(status)));
  }
  return lines;
}

Outcome<void> Crew::preload(Progress& progress, const Trouble& trouble) {
  const auto failures = command(Command::preload, progress, trouble);
  if (failures.empty()) return {};
  return Failure{fmt::format("loading the keys failed: {}", failures.front())};
}

Crew::Run Crew::run(uint64_t start_ns, uint64_t duration_ns, Progress& progress,
                    const Trouble& trouble) {
  Run run;
  control_->window = make_window(start_ns, duration_ns);
  run.failures = command(Command::run, progress, trouble);
  for (uint32_t client = 0; client < members_.size(); ++client) {
    if (members_[client].dead) continue;
    const Outcome<Measurement> measured = read_result(client);
    if (measured) {
      run.measured += *measured;
    } else {
      run.failures.push_back(measured.error);
    }
  }
  run.may_go_on = run.failures.empty();
  return run;
}

Outcome<Measurement> Crew::read_result(uint32_t client) {
  const auto read_exactly = [fd = members_[client].results.get()](char* into, size_t bytes) {
    for (size_t got = 0; got < bytes;) {
      const ssize_t more = ::read(fd, into + got, bytes - got);
      if (more == 0 || (more < 0 && errno != EINTR)) return false;
      if (more > 0) got += static_cast<size_t>(more);
    }
    return true;
  };
  const Failure cut{fmt::format("client {} did not deliver its result", client)};
  uint64_t bytes = 0;
  if (!read_exactly(reinterpret_cast<char*>(&bytes), sizeof(bytes))) return cut;
  std::string body(bytes, '\0');
  if (!read_exactly(body.data(), bytes)) return cut;
  std::optional<Measurement> measured = decode(body);
  if (!measured) return cut;
  return std::move(*measured);
}

}  // namespace copykv::bench
