// SPDX-License-Identifier: Apache-2.0
// The parts of base that act on the process: log, fence, fault points. Children run what ends them.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include "base/atomics.hpp"
#include "base/fault_points.hpp"
#include "base/log.hpp"
#include "base/membarrier.hpp"
#include "base/random.hpp"

namespace copykv {
namespace {

struct Ended {
  int wait_status = 0;
  std::string err{};
};

template <class Body>
Ended in_child(Body body) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    body();
    _exit(0);
  }
  close(ends[1]);
  Ended ended;
  char buffer[512];
  for (ssize_t got = read(ends[0], buffer, sizeof buffer); got > 0;
       got = read(ends[0], buffer, sizeof buffer)) {
    ended.err.append(buffer, static_cast<size_t>(got));
  }
  close(ends[0]);
  REQUIRE(waitpid(child, &ended.wait_status, WUNTRACED) == child);
  return ended;
}

TEST_CASE("the log writes one line per event, up to its level") {
  const Ended ended = in_child([] {
    set_log_name("copykvd[rank 0]");
    set_log_level(LogLevel::info);
    log_error("lost {}", 3);
    log_info("ready");
    log_debug("never seen");
  });
  CHECK(ended.err == "copykvd[rank 0]: error: lost 3\ncopykvd[rank 0]: info: ready\n");
  CHECK(*parse_log_level("debug") == LogLevel::debug);
  CHECK_FALSE(parse_log_level("loud"));
}

void spin(uint64_t pauses) {
  for (uint64_t i = 0; i < pauses; ++i) cpu_pause();
}

template <class Condition>
void wait_until(Condition holds) {
  for (uint32_t i = 0; !holds(); ++i) i < 64 ? cpu_pause() : std::this_thread::yield();
}

// Two threads meet in `round`, then each stores its own flag and looks at the other's. Returns how
// often both missed each other. Random delays slide the two sides over one another.
uint32_t count_both_missed(uint32_t rounds, bool (*heavy_fence)()) {
  struct alignas(kCacheLineBytes) Line {
    uint32_t word = 0;
  };
  Line round_line, light_flag, heavy_flag, light_saw;
  std::thread light([&] {
    Random random(1);
    for (uint32_t round = 1; round <= rounds; ++round) {
      wait_until([&] { return observe(round_line.word) == round; });
      spin(random.below(8));
      poke(light_flag.word, round);
      compiler_barrier();
      const bool saw = peek(heavy_flag.word) == round;
      publish(light_saw.word, round << 1 | uint32_t{saw});
    }
  });
  Random random(2);
  uint32_t both_missed = 0;
  for (uint32_t round = 1; round <= rounds; ++round) {
    publish(round_line.word, round);
    spin(random.below(16));
    poke(heavy_flag.word, round);
    const bool fenced = heavy_fence();
    const bool heavy_saw = peek(light_flag.word) == round;
    wait_until([&] { return observe(light_saw.word) >> 1 == round; });
    const bool light_did = (peek(light_saw.word) & 1) != 0;
    both_missed += fenced && !heavy_saw && !light_did ? 1 : 0;
  }
  light.join();
  return both_missed;
}

TEST_CASE("a global membarrier stands in for the other side's fence") {
  if (!register_global_membarrier()) {
    WARN("membarrier(2) is not available here");
    return;
  }
  CHECK(count_both_missed(10'000, [] { return global_membarrier(); }) == 0);
  // The same without the barrier: shows that the handshake above can fail.
  const uint32_t without = count_both_missed(20'000, [] {
    compiler_barrier();
    return true;
  });
  WARN("without the barrier both sides missed each other " << without << " times in 20,000");
}

void pass_points(uint32_t times) {
  for (uint32_t i = 0; i < times; ++i) {
    COPYKV_FAULT_POINT("test.first");
    COPYKV_FAULT_POINT("test.second");
    const char mark = '.';
    (void)!write(STDERR_FILENO, &mark, 1);
  }
}

TEST_CASE("a fault point acts at the passage that COPYKV_FAULT names") {
  const auto with = [](const char* order, uint32_t times) {
    return in_child([&] {
      setenv("COPYKV_FAULT", order, 1);
      pass_points(times);
    });
  };
  const Ended killed = with("test.second:3:kill", 5);
  CHECK(killed.err == "..");
  CHECK((WIFSIGNALED(killed.wait_status) && WTERMSIG(killed.wait_status) == SIGKILL));
  const Ended left = with("test.first:1:exit", 5);
  CHECK(left.err.empty());
  CHECK((WIFEXITED(left.wait_status) && WEXITSTATUS(left.wait_status) == 9));
  const Ended elsewhere = with("test.third:1:kill", 4);
  CHECK(elsewhere.err == "....");
  CHECK(elsewhere.wait_status == 0);
  const Ended late = with("test.first:9:kill", 4);
  CHECK(late.wait_status == 0);
}

TEST_CASE("a misspelt order is refused instead of testing nothing") {
  const auto* order = GENERATE("test.first", "test.first:kill", "test.first:0:kill",
                               "test.first:x:kill", "test.first:1:hug", ":");
  INFO(order);
  const Ended ended = in_child([&] {
    setenv("COPYKV_FAULT", order, 1);
    std::signal(SIGABRT, SIG_DFL);
    pass_points(1);
  });
  CHECK((WIFSIGNALED(ended.wait_status) && WTERMSIG(ended.wait_status) == SIGABRT));
}

TEST_CASE("passed fault points are listed once") {
  const Ended ended = in_child([] {
    pass_points(2);
    for (const auto& name : list_fault_points()) (void)!write(2, name.data(), name.size());
  });
  CHECK(ended.err == "..test.firsttest.second");
}

}  // namespace
}  // namespace copykv
