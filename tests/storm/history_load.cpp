// SPDX-License-Identifier: Apache-2.0
// Clients of one rank that work until SIGTERM and then keep what they saw; and the check of what
// clients of all ranks saw together.
//
//   history_load record FILE RANK    finds its daemon by the environment
//   history_load check FILE...
//
// Exit: 0 done and right, 1 something is wrong (told on stdout), 2 usage.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "base/program.hpp"
#include "sim/check/calls.hpp"
#include "sim/check/linearizability.hpp"
#include "tests/storm/record.hpp"
#include "tests/storm/tape.hpp"

namespace copykv::storm {
namespace {

constexpr uint32_t kClients = 3;
constexpr uint64_t kKeys = 24;
constexpr uint64_t kCallNsMax = 2 * kNanosPerSecond;
constexpr useconds_t kPauseUs = 300;  // after a call that nobody could serve: it ends at once
const SystemClock kClock;

std::atomic<bool> told_to_end = false;
static_assert(std::atomic<bool>::is_always_lock_free);

/// The first thing that was wrong, of all threads.
class Wrong {
 public:
  void say(const std::string& what) {
    const std::lock_guard guard(lock_);
    if (first_.empty()) first_ = what;
  }
  [[nodiscard]] const std::string& first() const { return first_; }

 private:
  std::mutex lock_;
  std::string first_;
};

void work(TapedClient client, uint64_t seed, Wrong& wrong) {
  Random random(seed);
  while (!told_to_end) {
    const uint64_t key = random.below(kKeys);
    const size_t value_bytes = kRecordBytesMin + random.below(is_large(key) ? 50'000 : 400);
    const uint64_t began_ns = kClock.now_ns();
    const Status status = client.any(key, value_bytes, random);
    if (kClock.now_ns() - began_ns > kCallNsMax) wrong.say("a call took too long");
    const bool failed = status == Status::unreachable || status == Status::indeterminate;
    if (!failed && status != Status::ok && status != Status::not_found) {
      wrong.say(fmt::format("a call ends as {}", to_string(status)));
    }
    if (!client.wrong().empty()) wrong.say(client.wrong());
    if (failed) ::usleep(kPauseUs);
  }
}

int record(const std::string& file, uint32_t rank) {
  ::signal(SIGTERM, [](int) { told_to_end = true; });
  Tapes tapes(kClients);
  Wrong wrong;
  std::vector<std::thread> threads;
  for (uint32_t client = 0; client < kClients; ++client) {
    Options options;
    options.rank = rank;
    options.wait = Wait::park;
    AttachResult attached = Client::attach(options);
    if (!attached.client) {
      wrong.say(attached.error);
      break;
    }
    const uint32_t process = 1 + rank * kClients + client;
    threads.emplace_back(work, TapedClient(std::move(*attached.client), tapes[client], process),
                         process, std::ref(wrong));
  }
  for (std::thread& thread : threads) thread.join();
  const Outcome<void> saved = sim::save(tapes.history(), file);
  if (!saved) wrong.say(saved.error);
  if (!wrong.first().empty()) fmt::print("rank {}: {}\n", rank, wrong.first());
  return wrong.first().empty() ? 0 : 1;
}

int check(const std::vector<std::string>& files) {
  sim::History history;
  for (const std::string& file : files) {
    const Outcome<sim::History> loaded = sim::load_history(file);
    if (!loaded) {
      fmt::print("{}\n", loaded.error);
      return 1;
    }
    history.merge(*loaded);
  }
  uint64_t by_status[kStatusCount] = {};
  for (const sim::Operation& operation : history.operations()) {
    ++by_status[static_cast<size_t>(operation.status)];
  }
  for (uint8_t status = 0; status < kStatusCount; ++status) {
    if (by_status[status] == 0) continue;
    fmt::print("{} {}, ", by_status[status], to_string(static_cast<Status>(status)));
  }
  const sim::Verdict verdict = sim::check_linearizability(history);
  const std::string story = verdict.ok() ? sim::check_calls_end(history) : verdict.story;
  fmt::print("{} operations of {} keys checked\n{}", verdict.operations, verdict.keys, story);
  return story.empty() && verdict.operations > 0 ? 0 : 1;
}

int run(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 3 && arguments[0] == "record") {
    return record(arguments[1], static_cast<uint32_t>(std::atoi(arguments[2].c_str())));
  }
  if (arguments.size() >= 2 && arguments[0] == "check") {
    return check({arguments.begin() + 1, arguments.end()});
  }
  fmt::print("history_load record FILE RANK | check FILE...\n");
  return 2;
}

}  // namespace
}  // namespace copykv::storm

int main(int argc, char** argv) {
  return copykv::run_program("history_load", copykv::storm::run, argc, argv);
}
