// SPDX-License-Identifier: Apache-2.0
// What a turn may not do: system calls (a seccomp filter traps and counts each) and allocations
// (operator new counts them). The real engine serves every kind of request, small and large.
#include <fmt/format.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "sim/in_process.hpp"
#include "tests/unit/allocation_count.hpp"

namespace copykv::storm {

using sim::InProcessDaemon;
using sim::Seat;
namespace {

using test::allocation_count;

constexpr uint32_t kClients = 8;
constexpr uint32_t kDepth = 16;
constexpr uint64_t kOperations = 200'000;

/// Filled by a child process whose system calls are trapped.
struct Counts {
  uint64_t canary_syscalls;
  uint64_t turn_syscalls;
  uint64_t turn_allocations;
  uint64_t turns;
  uint64_t answers;
  uint64_t failures;
  int last_syscall;
};

volatile uint64_t trapped = 0;
volatile int last_trapped = 0;

void count_trap(int, siginfo_t* info, void* context) {
  trapped = trapped + 1;
  last_trapped = info->si_syscall;
#if defined(__x86_64__)
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
#else
  (void)context;
#endif
}

/// The test itself allocates between turns: from a heap that needs no system call to grow.
void take_heap_ahead() {
  constexpr int kHeapBytes = 64 << 20;
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, 2 * kHeapBytes);
  ::mallopt(M_TOP_PAD, kHeapBytes);
  void* volatile first = std::malloc(kHeapBytes / 2);
  std::free(first);
}

/// From here on, each system call but the end of the process raises SIGSYS instead.
void trap_system_calls() {
  struct sigaction action {};
  action.sa_sigaction = count_trap;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  ::sigaction(SIGSYS, &action, nullptr);
  constexpr auto kNumberAt = static_cast<uint32_t>(offsetof(seccomp_data, nr));
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumberAt),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) ::_exit(1);
}

Status submit_something(Client& client, Random& random, const std::string& large) {
  const std::string key = fmt::format("key-{}", random.below(100));
  switch (random.below(12)) {
    case 0:
      return client.submit_put(key, "a small value", 0);
    case 1:
      return client.submit_put(key, std::string_view(large).substr(0, 1 + random.below(4000)), 0);
    case 2:
      return client.submit_put("large", large, 0);
    case 3:
      return client.submit_del(key, 0);
    case 4:
      return client.submit_add("counter", 1, 0);
    case 5:
      return client.submit_touch(key, 1, 0);
    case 6:
      return client.submit_exists(key, 0);
    case 7:
      return client.submit_put(key, "brief", 0, {.flags = 7, .ttl_ms = 1});
    default:
      return client.submit_get(key, 0);
  }
}

void serve(InProcessDaemon& daemon, std::span<Client> clients, Counts& counts) {
  Random random(1);
  const std::string large(100'000, 'x');
  std::array<Completion, kDepth> done;
  while (counts.answers < kOperations) {
    for (Client& client : clients) {
      for (uint64_t burst = random.below(kDepth); burst > 0; --burst) {
        (void)submit_something(client, random, large);
      }
    }
    const uint64_t syscalls = trapped;
    const uint64_t allocations = allocation_count();
    (void)daemon.engine().turn();
    counts.turn_syscalls += trapped - syscalls;
    counts.turn_allocations += allocation_count() - allocations;
    ++counts.turns;
    for (Client& client : clients) {
      const size_t taken = client.poll(done);
      counts.answers += taken;
      for (size_t index = 0; index < taken; ++index) {
        const Status status = done[index].result.status;
        if (status != Status::ok && status != Status::not_found) ++counts.failures;
      }
    }
  }
}

}  // namespace

TEST_CASE("a turn makes no system call and allocates nothing") {
  auto* counts = static_cast<Counts*>(
      ::mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  REQUIRE(counts != MAP_FAILED);
  const pid_t pid = ::fork();
  if (pid == 0) {
    InProcessDaemon daemon({.memory_bytes = 64U << 20, .fence_free = true});
    daemon.populate();
    std::vector<std::unique_ptr<Seat>> seats;
    std::vector<Client> clients;
    for (uint32_t number = 0; number < kClients; ++number) {
      seats.push_back(daemon.attach({number, 1, kDepth, kSlotPayloadBytesMin, 4U << 20}));
      clients.push_back(daemon.client(*seats.back()));
    }
    take_heap_ahead();
    trap_system_calls();
    (void)::syscall(SYS_getppid);
    counts->canary_syscalls = trapped;
    serve(daemon, clients, *counts);
    counts->last_syscall = last_trapped;
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  REQUIRE(status == 0);
  CHECK(counts->canary_syscalls == 1);  // the filter counts
  const uint64_t before = allocation_count();
  uint64_t* volatile allocated = new uint64_t(before);  // volatile: not to be optimized away
  delete allocated;
  CHECK(allocation_count() > before);  // and so does operator new
  INFO("last system call: " << counts->last_syscall);
  CHECK(counts->turn_syscalls == 0);
  CHECK(counts->turn_allocations == 0);
  CHECK(counts->failures == 0);
  fmt::print("{} turns, {} answers: {} system calls, {} allocations\n", counts->turns,
             counts->answers, counts->turn_syscalls, counts->turn_allocations);
  ::munmap(counts, sizeof(Counts));
}

}  // namespace copykv::storm
