// SPDX-License-Identifier: Apache-2.0
// kill -9 of client processes, at random moments and at every fault point of the library, while
// others work on the same keys. What all of them saw has an order: no value is torn, no
// acknowledged write lost, what was cut off happened once or not at all. And the daemon holds
// exactly what it held before.
//
//   COPYKV_STORM_KILLS   kills at random moments (default 10,000)
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <optional>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "base/fault_points.hpp"
#include "base/random.hpp"
#include "tests/storm/daemon_process.hpp"
#include "tests/storm/raw_client.hpp"
#include "tests/storm/record.hpp"
#include "tests/storm/tape.hpp"
#include "tests/storm/verdict.hpp"

namespace copykv::storm {
namespace {

constexpr uint32_t kWorkers = 4;
constexpr uint32_t kKeys = 32;
constexpr uint32_t kTestTape = kWorkers;  // the tape of the test's own operations

/// What the workers did, in memory that outlives them.
struct Journal {
  std::atomic<uint64_t> operations;
  std::atomic<uint64_t> violations;
  char first_violation[256];

  void violated(const std::string& what) {
    if (violations.fetch_add(1) > 0) return;
    what.copy(first_violation, sizeof(first_violation) - 1);
  }
};

class SharedJournal {
 public:
  SharedJournal()
      : journal_(static_cast<Journal*>(::mmap(nullptr, sizeof(Journal), PROT_READ | PROT_WRITE,
                                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    REQUIRE(journal_ != MAP_FAILED);
  }
  SharedJournal(const SharedJournal&) = delete;
  SharedJournal& operator=(const SharedJournal&) = delete;
  ~SharedJournal() { ::munmap(journal_, sizeof(Journal)); }
  Journal* operator->() { return journal_; }
  Journal& operator*() { return *journal_; }

 private:
  Journal* journal_;
};

size_t value_bytes_of(Random& random) {
  switch (random.below(16)) {
    case 0:
      return kRecordBytesMin + random.below(200'000);  // the bulk area
    case 1:
    case 2:
      return kRecordBytesMin + random.below(20'000);
    default:
      return kRecordBytesMin + random.below(1'000);
  }
}

/// Who works where: a worker's place is taken by one process after the other.
struct Seat {
  uint32_t worker = 0;
  uint32_t process = 0;
};

/// A client process: works until it is killed, or `operations_max` are done.
int work(Journal& journal, Tape& tape, const DaemonProcess& daemon, const Seat& seat,
         uint64_t operations_max) {
  ::signal(SIGTERM, SIG_DFL);
  Random random(seat.process);
  Options options = daemon.client_options();
  options.queue_depth = static_cast<uint32_t>(1 + random.below(16));
  options.wait = random.below(2) == 0 ? Wait::adaptive : Wait::park;
  AttachResult attached = Client::attach(options);
  if (!attached.client) {
    journal.violated("attach: " + attached.error);
    return 1;
  }
  TapedClient client(std::move(*attached.client), tape, seat.process);
  for (uint64_t operation = 0; operation < operations_max; ++operation) {
    const Status status = client.any(random.below(kKeys), value_bytes_of(random), random);
    if (status != Status::ok && status != Status::not_found) {
      journal.violated(fmt::format("a call ends as {}", to_string(status)));
    }
    if (!client.wrong().empty()) journal.violated(client.wrong());
    ++journal.operations;
  }
  return 0;
}

int wait_for(pid_t pid, int options = 0) {
  int status = -1;
  (void)::waitpid(pid, &status, options);
  return status;
}

/// Waits until the daemon has freed what dead clients held.
Resources settled(const DaemonProcess& daemon, const RawClient& observer, const Resources& wanted) {
  const SystemClock clock;
  const uint64_t give_up_ns = clock.now_ns() + 5 * kNanosPerSecond;
  while (clock.now_ns() < give_up_ns) {
    if (peek(daemon_block(observer.rank(), 0).lanes) == 1 && daemon.resources() == wanted) break;
    ::usleep(10'000);
  }
  return daemon.resources();
}

/// A daemon, an observer that stays attached, and what the daemon holds before the storm.
struct Stage {
  DaemonProcess daemon;
  SharedJournal journal;
  Tapes tapes{kWorkers + 1};
  uint32_t processes = 0;
  std::optional<RawClient> observer;
  Resources before;

  Stage() {
    daemon.start();
    observer.emplace(daemon.socket_path());
    before = settled(daemon, *observer, daemon.resources());
  }

  struct Worker {
    Seat seat{};
    pid_t pid = -1;
  };
  Worker start(uint32_t worker, uint64_t operations_max = UINT64_MAX, const char* fault = nullptr) {
    const Seat seat{worker, ++processes};
    const pid_t pid = in_child([&] {
      if (fault != nullptr) ::setenv("COPYKV_FAULT", fault, 1);
      return work(*journal, tapes[worker], daemon, seat, operations_max);
    });
    return {seat, pid};
  }
  /// Waits until it has been killed, by whomever.
  void expect_killed(const Worker& worker) {
    const int status = wait_for(worker.pid);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    tapes[worker.seat.worker].died(worker.seat.process, SystemClock().now_ns());
  }

  void check_after(const char* name) {
    // Each key once more, by somebody who lives.
    CHECK(wait_for(in_child([&] {
            TapedClient client(attach_to(daemon), tapes[kTestTape], ++processes);
            for (uint64_t key = 0; key < kKeys; ++key) (void)client.get(key);
            return client.wrong().empty() ? 0 : 1;
          })) == 0);
    INFO("first violation: " << journal->first_violation);
    CHECK(journal->violations == 0);
    const Resources after = settled(daemon, *observer, before);
    CHECK(after.descriptors == before.descriptors);
    CHECK(after.client_memfds == before.client_memfds);
    CHECK(after.client_mappings == before.client_mappings);
    CHECK(peek(daemon_block(observer->rank(), 0).lanes) == 1);
    CHECK(peek(observer->rank().clients_attached) == 1);
    CHECK(daemon.running());
    expect_in_order(tapes.history(), name, [](uint64_t) { return 0; });
  }
};

}  // namespace

TEST_CASE("a record tells every changed byte, another key and another length") {
  std::string value(300, '\0');
  write_record(7, 1, 42, value);
  Record record;
  REQUIRE(read_record(7, value, record).empty());
  CHECK(record.sequence == 42);
  for (char& byte : value) {
    byte = static_cast<char>(byte ^ 0x10);
    CHECK(!read_record(7, value, record).empty());
    byte = static_cast<char>(byte ^ 0x10);
  }
  CHECK(!read_record(8, value, record).empty());
  CHECK(!read_record(7, std::string_view(value).substr(0, 299), record).empty());
  CHECK(!read_record(7, "", record).empty());
}

TEST_CASE("clients are killed at random moments") {
  const uint64_t kills = setting("COPYKV_STORM_KILLS", 10'000);
  Stage stage;
  Random random(1);
  std::array<Stage::Worker, kWorkers> workers;
  for (uint32_t worker = 0; worker < kWorkers; ++worker) workers[worker] = stage.start(worker);
  const SystemClock clock;
  const uint64_t began_ns = clock.now_ns();
  for (uint64_t kill = 0; kill < kills && stage.journal->violations == 0; ++kill) {
    ::usleep(static_cast<useconds_t>(random.below(2'500)));
    Stage::Worker& victim = workers[random.below(kWorkers)];
    ::kill(victim.pid, SIGKILL);
    stage.expect_killed(victim);
    victim = stage.start(victim.seat.worker);
  }
  const double seconds = static_cast<double>(clock.now_ns() - began_ns) / 1e9;
  for (const Stage::Worker& worker : workers) {
    ::kill(worker.pid, SIGKILL);
    stage.expect_killed(worker);
  }
  stage.check_after("kill_clients");
  fmt::print("{} kills in {:.1f} s, {} operations, {} violations\n", kills, seconds,
             stage.journal->operations.load(), stage.journal->violations.load());
  CHECK(stage.journal->operations > kills);  // the victims were at work
}

TEST_CASE("clients are killed at every fault point") {
  Stage stage;
  // A process of its own names the points that these operations pass.
  std::vector<std::string> points;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t scout = in_child([&] {
    Client client = attach_to(stage.daemon);
    const std::string large(100'000, 'x');
    (void)client.put("scout", "small");
    (void)client.put("scout", large);
    (void)client.get("scout");
    for (const std::string& point : list_fault_points()) ::dprintf(ends[1], "%s\n", point.c_str());
    return 0;
  });
  REQUIRE(wait_for(scout) == 0);
  ::close(ends[1]);
  std::string name;
  for (char c; ::read(ends[0], &c, 1) == 1;) {
    if (c != '\n') {
      name += c;
      continue;
    }
    points.push_back(std::move(name));
    name.clear();
  }
  ::close(ends[0]);
  REQUIRE(points.size() >= 4);

  uint32_t kills = 0;
  for (const std::string& point : points) {
    for (uint32_t passage = 1; passage <= 40; ++passage) {
      const std::string fault = fmt::format("{}:{}:kill", point, passage);
      INFO(fault);
      stage.expect_killed(stage.start(passage % kWorkers, UINT64_MAX, fault.c_str()));
      ++kills;
    }
  }
  stage.check_after("kill_clients_at_points");
  fmt::print("{} kills at {} fault points, {} violations\n", kills, points.size(),
             stage.journal->violations.load());
}

TEST_CASE("a client that stops at a fault point keeps its lane and goes on") {
  Stage stage;
  for (const char* point : {"submit.body_written", "submit.published", "complete.answer_seen"}) {
    INFO(point);
    const std::string fault = fmt::format("{}:5:stop", point);
    const pid_t stopped = stage.start(0, /*operations_max=*/50, fault.c_str()).pid;
    CHECK(WIFSTOPPED(wait_for(stopped, WUNTRACED)));
    const pid_t other = stage.start(1, /*operations_max=*/200).pid;
    CHECK(wait_for(other) == 0);
    CHECK(peek(stage.observer->rank().clients_attached) >= 2);  // the stopped one is still there
    // The name stands at more than one place: each of them stops it once.
    int status = 0;
    do {
      ::kill(stopped, SIGCONT);
      status = wait_for(stopped, WUNTRACED);
    } while (WIFSTOPPED(status));
    CHECK(status == 0);
  }
  stage.check_after("stop_clients");
}

}  // namespace copykv::storm
