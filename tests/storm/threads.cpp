// SPDX-License-Identifier: Apache-2.0
// The real daemon thread and real clients as threads of one process over one mapping, so that
// ThreadSanitizer sees both ends of every line. Runs in every build; it proves the most in the
// thread-sanitizer build (race_canary shows that the sanitizer would speak up).
//
//   COPYKV_STORM_THREADS_MS   how long each mix runs (default 800)
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "base/membarrier.hpp"
#include "base/random.hpp"
#include "client/impl.hpp"
#include "daemon/daemon_thread.hpp"
#include "sim/in_process.hpp"
#include "tests/storm/daemon_process.hpp"
#include "tests/storm/record.hpp"

namespace copykv::storm {

using sim::InProcessDaemon;
using sim::Seat;
namespace {

constexpr uint32_t kClientsMax = 16;
constexpr uint64_t kBulkBytes = 256 * 1024;

/// A rank without sockets: the control thread's work is done by the test's main thread.
class ThreadedRank {
 public:
  ThreadedRank(Wait wait, bool fence_free)
      : fence_free_(fence_free), page_(rank_page_bytes(1) + kPageBytes) {
    void* start = page_.data();
    size_t space = page_.size();
    rank_ = static_cast<RankHeader*>(std::align(kPageBytes, rank_page_bytes(1), start, space));
    rank_->rank_count = 1;
    rank_->daemon_count = 1;
    rank_->value_bytes_max = 1U << 20;
    DaemonThreadOptions options;
    options.engine.lanes_max = kClientsMax;
    options.memory = {.budget_bytes = 64U << 20, .huge_pages = HugePages::off};
    options.wait = wait;
    auto made = DaemonThread::create(options, *rank_, daemon_block(*rank_, 0));
    REQUIRE(made.error.empty());
    daemon_ = std::move(*made);
    daemon_->start();
  }

  std::unique_ptr<Seat> attach(uint32_t number) {
    auto seat =
        std::make_unique<Seat>(SegmentGeometry{number, 1, 16, kSlotPayloadBytesMin, kBulkBytes}, 1);
    tell({Command::Kind::attach, seat->setup(fence_free_)});
    return seat;
  }
  void detach(std::unique_ptr<Seat> seat) {
    Command command{Command::Kind::close, {}};
    command.lane.id = seat->geometry().client_number;
    tell(command);
    while (!seat->closed()) {
      ::usleep(100);
      tend();
    }
  }
  Client client(const Seat& seat, Wait wait) {
    Options options;
    options.queue_depth = seat.geometry().queue_depth;
    options.bulk_bytes_max = kBulkBytes;
    options.wait = wait;
    const int wake_fds[] = {daemon_->wake_fd()};
    return ClientImpl::wrap(std::make_unique<ClientImpl>(
        options,
        Connection::in_process(seat.base(), seat.geometry(), *rank_, wake_fds, fence_free_)));
  }
  /// Memory ahead of need.
  void tend() {
    while (daemon_->memory().wants_populating() && daemon_->memory().populate_ahead()) {
    }
  }
  void stop() { daemon_->stop(); }
  [[nodiscard]] const DaemonBlock& block() const { return daemon_block(*rank_, 0); }

 private:
  void tell(const Command& command) {
    REQUIRE(daemon_->commands().push(command));
    daemon_->wake();
  }

  const bool fence_free_;
  std::vector<std::byte> page_;
  RankHeader* rank_ = nullptr;
  std::unique_ptr<DaemonThread> daemon_;
};

struct Seen {
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> operations = 0;
  std::atomic<uint64_t> wrong = 0;
};

void synchronous_load(Client client, Seen& seen, uint64_t writer) {
  Random random(writer);
  std::string value;
  Record record;
  for (uint64_t sequence = 1; !seen.stop; ++sequence) {
    const uint64_t key = writer * 100 + random.below(10);
    value.resize(kRecordBytesMin + random.below(random.below(8) == 0 ? 60'000 : 200));
    write_record(key, writer, sequence, value);
    const bool put = client.put(record_key(key), value).ok();
    const Result got = client.get(record_key(key));
    const bool right = put && got.ok() && read_record(key, got.value, record).empty() &&
                       record.sequence == sequence;
    if (!right) ++seen.wrong;
    const uint64_t foreign = (1 + random.below(6)) * 100 + random.below(10);
    const Result other = client.get(record_key(foreign));
    if (other.ok() && !read_record(foreign, other.value, record).empty()) ++seen.wrong;
    seen.operations += 3;
    if (random.below(64) == 0) ::usleep(2'000);  // long enough for the daemon to sleep
  }
}

void asynchronous_load(Client client, Seen& seen, uint64_t writer) {
  Random random(writer);
  std::array<Completion, 16> done;
  std::string value(100, '\0');
  while (!seen.stop || client.in_flight() > 0) {
    Status status = Status::ok;
    while (!seen.stop && status == Status::ok) {
      const uint64_t key = writer * 100 + random.below(10);
      write_record(key, writer, 1, value);
      status = random.below(2) == 0 ? client.submit_put(record_key(key), value, key)
                                    : client.submit_get(record_key(key), key);
    }
    const size_t taken = client.wait(done, 1'000);
    Record record;
    for (size_t index = 0; index < taken; ++index) {
      const Result& result = done[index].result;
      if (!result.ok() && result.status != Status::not_found) ++seen.wrong;
      if (!result.value.empty() && !read_record(done[index].tag, result.value, record).empty()) {
        ++seen.wrong;
      }
    }
    seen.operations += taken;
  }
}

}  // namespace

TEST_CASE("clients of every kind and a daemon as threads of one process") {
  const uint64_t run_ms = setting("COPYKV_STORM_THREADS_MS", 800);
  const Wait daemon_wait = GENERATE(Wait::spin, Wait::adaptive, Wait::park);
  // Without fences nothing but publish and observe orders the two sides: under the sanitizer a
  // fence is a read-modify-write of one word, which would hide a missing release.
  const bool fence_free = GENERATE(true, false) && register_global_membarrier();
  ThreadedRank rank(daemon_wait, fence_free);
  Seen seen;
  std::vector<std::unique_ptr<Seat>> seats;
  for (uint32_t number = 0; number < 6; ++number) seats.push_back(rank.attach(number));
  std::vector<std::thread> threads;
  constexpr Wait kWaits[] = {Wait::adaptive, Wait::park, Wait::spin};
  for (uint32_t number = 0; number < 6; ++number) {
    threads.emplace_back([&, number] {
      Client client = rank.client(*seats[number], kWaits[number % 3]);
      if (number < 4) {
        synchronous_load(std::move(client), seen, number + 1);
      } else {
        asynchronous_load(std::move(client), seen, number + 1);
      }
    });
  }
  // The control thread's part: clients come and go, memory grows, somebody reads the counters.
  const SystemClock clock;
  const uint64_t end_ns = clock.now_ns() + run_ms * kNanosPerMilli;
  uint64_t visitors = 0;
  uint64_t counters = 0;
  while (clock.now_ns() < end_ns) {
    auto seat = rank.attach(kClientsMax - 1);
    {
      Client visitor = rank.client(*seat, Wait::adaptive);
      CHECK(visitor.put("visitor", "was here").ok());
      (void)visitor.submit_get("visitor", 1);  // leaves with a request in flight
    }
    rank.detach(std::move(seat));
    rank.tend();
    ++visitors;
    counters += peek(rank.block().requests) + peek(rank.block().turn_ns.max_ns);
  }
  seen.stop = true;
  for (std::thread& thread : threads) thread.join();
  rank.stop();
  CHECK(seen.wrong == 0);
  CHECK(seen.operations > 100);
  CHECK(counters > 0);
  fmt::print("daemon wait {}, fence_free {}: {} operations, {} visitors\n",
             static_cast<int>(daemon_wait), fence_free, seen.operations.load(), visitors);
}

}  // namespace copykv::storm
