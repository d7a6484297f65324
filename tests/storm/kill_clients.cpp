// SPDX-License-Identifier: Apache-2.0
// kill -9 of client processes, at random moments and at every fault point of the library, while
// others work on. Afterwards no value is torn, every acknowledged write is there or overwritten by
// a later one, and the daemon holds exactly what it held before.
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

namespace copykv::storm {
namespace {

constexpr uint32_t kWorkers = 4;
constexpr uint32_t kKeysPerWorker = 8;
constexpr uint32_t kKeys = kWorkers * kKeysPerWorker;
constexpr uint64_t kSequencesMax = 1U << 20;

/// What was tried and what was acknowledged, in memory that outlives the workers. A key has one
/// writer at a time: worker key / kKeysPerWorker, in successive processes.
struct Journal {
  struct Key {
    uint64_t tried;         ///< highest sequence that was put
    uint64_t acknowledged;  ///< highest sequence that was answered ok
    uint8_t was_acknowledged[kSequencesMax / 8];
  };
  std::atomic<uint64_t> operations;
  std::atomic<uint64_t> violations;
  char first_violation[256];
  Key keys[kKeys];

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

/// Reads any key: whole, of this key, and not older than the last acknowledged write when its
/// writer is this process (`own`). A write that was never acknowledged may come through late.
void read_and_check(Journal& journal, Client& client, uint64_t key, bool own) {
  const Journal::Key& entry = journal.keys[key];
  const uint64_t acknowledged = observe(entry.acknowledged);
  const Result got = client.get(record_key(key));
  if (got.status == Status::not_found) {
    if (acknowledged > 0) journal.violated(fmt::format("key {} is lost", key));
    return;
  }
  if (!got.ok()) {
    return journal.violated(fmt::format("key {} ends as {}", key, to_string(got.status)));
  }
  Record record;
  const std::string wrong = read_record(key, got.value, record);
  if (!wrong.empty()) return journal.violated(fmt::format("key {}: {}", key, wrong));
  if (record.sequence > observe(entry.tried)) {
    journal.violated(fmt::format("key {}: sequence {} was never written", key, record.sequence));
  }
  const uint8_t bits = entry.was_acknowledged[record.sequence / 8];
  if (own && record.sequence < acknowledged && (bits >> (record.sequence % 8) & 1) != 0) {
    journal.violated(fmt::format("key {}: sequence {} stands, {} was acknowledged", key,
                                 record.sequence, acknowledged));
  }
}

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

void write_next(Journal& journal, Client& client, uint64_t key, Random& random) {
  Journal::Key& entry = journal.keys[key];
  const uint64_t sequence = peek(entry.tried) + 1;
  if (sequence >= kSequencesMax) return;
  std::string value(value_bytes_of(random), '\0');
  write_record(key, key / kKeysPerWorker, sequence, value);
  publish(entry.tried, sequence);
  const Result put = client.put(record_key(key), value);
  if (!put.ok()) {
    return journal.violated(fmt::format("put of key {}: {}", key, to_string(put.status)));
  }
  // The kill may fall between these two: the bit first, so that `acknowledged` is never ahead.
  auto& bits = entry.was_acknowledged[sequence / 8];
  bits = static_cast<uint8_t>(bits | 1U << (sequence % 8));
  publish(entry.acknowledged, sequence);
}

/// A client process: works until it is killed, or `operations_max` are done.
int work(Journal& journal, const DaemonProcess& daemon, uint32_t worker, uint64_t seed,
         uint64_t operations_max) {
  ::signal(SIGTERM, SIG_DFL);
  Random random(seed);
  Options options = daemon.client_options();
  options.queue_depth = static_cast<uint32_t>(1 + random.below(16));
  options.wait = random.below(2) == 0 ? Wait::adaptive : Wait::park;
  AttachResult attached = Client::attach(options);
  if (!attached.client) {
    journal.violated("attach: " + attached.error);
    return 1;
  }
  Client& client = *attached.client;
  for (uint64_t operation = 0; operation < operations_max; ++operation) {
    const uint64_t own = worker * kKeysPerWorker + random.below(kKeysPerWorker);
    const uint64_t any = random.below(kKeys);
    switch (random.below(3)) {
      case 0:
        write_next(journal, client, own, random);
        break;
      case 1:
        read_and_check(journal, client, own, true);
        break;
      default:
        read_and_check(journal, client, any, false);
    }
    ++journal.operations;
  }
  return 0;
}

pid_t start_worker(Journal& journal, const DaemonProcess& daemon, uint32_t worker, uint64_t seed,
                   uint64_t operations_max = UINT64_MAX, const char* fault = nullptr) {
  return in_child([&, seed] {
    if (fault != nullptr) ::setenv("COPYKV_FAULT", fault, 1);
    return work(journal, daemon, worker, seed, operations_max);
  });
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

void check_everything(Journal& journal, const DaemonProcess& daemon) {
  const pid_t pid = in_child([&] {
    Client client = attach_to(daemon);
    for (uint64_t key = 0; key < kKeys; ++key) read_and_check(journal, client, key, true);
    return 0;
  });
  CHECK(wait_for(pid) == 0);
}

/// A daemon, an observer that stays attached, and what the daemon holds before the storm.
struct Stage {
  DaemonProcess daemon;
  SharedJournal journal;
  std::optional<RawClient> observer;
  Resources before;

  Stage() {
    daemon.start();
    observer.emplace(daemon.socket_path());
    before = settled(daemon, *observer, daemon.resources());
  }
  void check_after() {
    check_everything(*journal, daemon);
    INFO("first violation: " << journal->first_violation);
    CHECK(journal->violations == 0);
    const Resources after = settled(daemon, *observer, before);
    CHECK(after.descriptors == before.descriptors);
    CHECK(after.client_memfds == before.client_memfds);
    CHECK(after.client_mappings == before.client_mappings);
    CHECK(peek(daemon_block(observer->rank(), 0).lanes) == 1);
    CHECK(peek(observer->rank().clients_attached) == 1);
    CHECK(daemon.running());
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
  std::array<pid_t, kWorkers> pids{};
  for (uint32_t worker = 0; worker < kWorkers; ++worker) {
    pids[worker] = start_worker(*stage.journal, stage.daemon, worker, random.next());
  }
  const SystemClock clock;
  const uint64_t began_ns = clock.now_ns();
  for (uint64_t kill = 0; kill < kills && stage.journal->violations == 0; ++kill) {
    ::usleep(static_cast<useconds_t>(random.below(2'500)));
    const auto worker = static_cast<uint32_t>(random.below(kWorkers));
    ::kill(pids[worker], SIGKILL);
    const int status = wait_for(pids[worker]);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    pids[worker] = start_worker(*stage.journal, stage.daemon, worker, random.next());
  }
  const double seconds = static_cast<double>(clock.now_ns() - began_ns) / 1e9;
  for (const pid_t pid : pids) {
    ::kill(pid, SIGKILL);
    (void)wait_for(pid);
  }
  stage.check_after();
  fmt::print("{} kills in {:.1f} s, {} checked operations, {} violations\n", kills, seconds,
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

  Random random(2);
  uint32_t kills = 0;
  for (const std::string& point : points) {
    for (uint32_t passage = 1; passage <= 40; ++passage) {
      const std::string fault = fmt::format("{}:{}:kill", point, passage);
      INFO(fault);
      const uint32_t worker = passage % kWorkers;
      const pid_t pid = start_worker(*stage.journal, stage.daemon, worker, random.next(),
                                     UINT64_MAX, fault.c_str());
      const int status = wait_for(pid);
      CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
      ++kills;
    }
  }
  stage.check_after();
  fmt::print("{} kills at {} fault points, {} violations\n", kills, points.size(),
             stage.journal->violations.load());
}

TEST_CASE("a client that stops at a fault point keeps its lane and goes on") {
  Stage stage;
  for (const char* point : {"submit.body_written", "submit.published", "complete.answer_seen"}) {
    INFO(point);
    const std::string fault = fmt::format("{}:5:stop", point);
    const pid_t stopped =
        start_worker(*stage.journal, stage.daemon, 0, 3, /*operations_max=*/50, fault.c_str());
    CHECK(WIFSTOPPED(wait_for(stopped, WUNTRACED)));
    const pid_t other = start_worker(*stage.journal, stage.daemon, 1, 4, /*operations_max=*/200);
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
  stage.check_after();
}

}  // namespace copykv::storm
