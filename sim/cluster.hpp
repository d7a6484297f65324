// SPDX-License-Identifier: Apache-2.0
// A whole cluster in one thread, under virtual time: each rank the real engine, store and copyrpc,
// each client the real library, between them a simulated network and simulated memory.
//
// TIME      An event happens at a moment of one clock. A turn of a daemon, or a step of a client,
//   happens at one moment and takes what the profile says: its posts leave, and its stores drain,
//   when it is over. A daemon that has nothing to do takes no turns until something is told to it.
// REPEATED  by the seed and the options: no real clock, thread, address or allocation decides
//   anything.
// THREADS   One.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/event_queue.hpp"
#include "base/fd.hpp"
#include "base/random.hpp"
#include "copyrpc/fabric/sim/sim_fabric.hpp"
#include "daemon/job_card.hpp"
#include "sim/in_process_rank.hpp"
#include "sim/observed_network.hpp"
#include "sim/observer.hpp"
#include "sim/processor.hpp"
#include "sim/profile.hpp"
#include "sim/trace.hpp"

namespace copykv::sim {

inline constexpr uint64_t kNever = UINT64_MAX;

struct Life;

struct ClusterOptions {
  uint64_t seed = 0;
  uint32_t ranks = 2;
  Profile profile{};
  copyrpc::NodeOptions node{};  ///< numbers and incarnation are the cluster's
  uint64_t memory_bytes = kStoreBudgetBytesMin;
  uint32_t value_bytes_max = 1U << 20;
  uint32_t lanes_max = 64;
  bool fence_free = false;
  uint64_t sleep_after_ns = 0;            ///< a daemon without work for so long sleeps; 0: never
  uint64_t store_delay_ns_max = 0;        ///< checked build: until a store is visible
  std::function<void(Life&)> on_start{};  ///< before the first turn of each life
  bool mortal = true;  ///< clients can hear of a rank's death, which takes a socket each

  /// Told of every step. Then nobody tells the processes when a turn is over but who observes
  /// (on_turn and tell); a process' step is at the moment when the daemon can see it; and turns are
  /// counted as those of a daemon that polls without pause.
  Observer* observer = nullptr;
  uint64_t look_ns = 2'000;  ///< how long a daemon that waits for answers goes without a turn
};

/// The clock of one rank: it may jump ahead of the others.
class RankClock final : public Clock {
 public:
  explicit RankClock(const Clock& common) : common_(common) {}
  [[nodiscard]] uint64_t now_ns() const noexcept override { return common_.now_ns() + ahead_ns_; }
  void jump(uint64_t by_ns) { ahead_ns_ += by_ns; }

 private:
  const Clock& common_;
  uint64_t ahead_ns_ = 0;
};

/// One life of a rank's daemon. Clients may look at its memory after its end.
struct Life {
  Life() = default;
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;
  ~Life();

  uint64_t incarnation = 0;
  uint32_t endpoint = 0;
  std::unique_ptr<StoreMemory> memory{};
  std::unique_ptr<RpcNetwork> network{};
  std::unique_ptr<ObservedNetwork> observed{};
  std::unique_ptr<InProcessDaemon> daemon{};
};

/// A client process. The cluster steps it; what it does is its own.
class Process {
 public:
  explicit Process(uint32_t rank) : rank_(rank) {}
  virtual ~Process() = default;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  /// Something may have happened, or the moment that the last step named has come. Returns when
  /// the next step is due at the latest.
  [[nodiscard]] virtual uint64_t step(uint64_t now_ns) = 0;

  [[nodiscard]] uint32_t rank() const { return rank_; }
  Processor processor{};

 private:
  const uint32_t rank_;
};

/// A client's place at a rank. Ends when the process closes it; its memory is freed when the daemon
/// has let go of it.
struct Attachment {
  std::shared_ptr<Life> life{};
  std::unique_ptr<Seat> seat{};
  std::unique_ptr<Client> client{};
};

class Cluster {
 public:
  explicit Cluster(const ClusterOptions& options);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  /// Returns its number. Steps begin at once.
  uint32_t add(std::unique_ptr<Process> process);
  /// nullptr after remove.
  [[nodiscard]] Process* process(uint32_t number) { return processes_[number].what.get(); }
  void remove(uint32_t number);

  /// nullptr: the rank is down, or has no lane left.
  [[nodiscard]] std::unique_ptr<Attachment> attach(Process& process, uint32_t queue_depth,
                                                   uint64_t bulk_bytes);
  /// Whether the daemon that gave it still lives.
  [[nodiscard]] bool is_served(const Process& process, const Attachment& attachment) const {
    return is_up(process.rank()) && attachment.life == ranks_[process.rank()].life;
  }
  /// As the end of the client's process, or of its attachment.
  void detach(Process& process, std::unique_ptr<Attachment> attachment);

  /// Runs events until `at_ns`, or until `done` holds (looked at after each event).
  void run_until(uint64_t at_ns, const std::function<bool()>& done = {});
  /// Calls `what` at that moment.
  void at(uint64_t at_ns, std::function<void()> what);

  // Faults.
  void kill(uint32_t rank);
  void start(uint32_t rank);
  void pause(uint32_t rank, uint64_t until_ns) { ranks_[rank].paused_until_ns = until_ns; }
  void slow(uint32_t rank, uint64_t factor, uint64_t until_ns);
  void jump_clock(uint32_t rank, uint64_t by_ns) { ranks_[rank].clock->jump(by_ns); }
  void set_store_delay(uint64_t ns_max) { store_delay_ns_max_ = ns_max; }
  void set_sleep_after(uint64_t ns) { sleep_after_ns_ = ns; }

  /// The process steps now.
  void nudge(uint32_t number) { set(processes_[number].step, clock.now_ns(), Kind::step, number); }
  /// ... or then, if it has nothing to do before.
  void tell(uint32_t number, uint64_t at_ns) {
    set(processes_[number].step, at_ns, Kind::step, number);
  }
  /// Places at this rank that clients hold, or have held and the daemon still does.
  [[nodiscard]] uint32_t lanes(uint32_t rank) const {
    return ranks_[rank].lanes_used - static_cast<uint32_t>(ranks_[rank].free_lanes.size());
  }

  [[nodiscard]] bool is_up(uint32_t rank) const { return ranks_[rank].life != nullptr; }
  /// Every rank is up, and has a session with every other.
  [[nodiscard]] bool is_connected() const;
  [[nodiscard]] Life& life(uint32_t rank) { return *ranks_[rank].life; }
  [[nodiscard]] uint32_t ranks() const { return options_.ranks; }
  [[nodiscard]] const Profile& costs() const { return options_.profile; }
  [[nodiscard]] uint32_t owner_of(std::string_view key) const;
  [[nodiscard]] uint32_t endpoint_of(uint32_t rank) const { return ranks_[rank].life->endpoint; }
  /// The rank whose life has this endpoint; ranks(): of an earlier life.
  [[nodiscard]] uint32_t rank_of_endpoint(uint32_t endpoint) const;
  /// Everything that never changes while nothing is broken; empty, or what is.
  [[nodiscard]] std::string check_invariants() const;
  /// Drains that left something waiting.
  [[nodiscard]] uint64_t late_drains() const { return late_drains_; }

  struct RankCounters {
    uint64_t turns;
    uint64_t sleeps;
  };
  [[nodiscard]] const RankCounters& counters(uint32_t rank) const { return ranks_[rank].counters; }

  ManualClock clock{1'000'000'000};
  Random random;
  copyrpc::SimNetwork network;
  Trace trace{};

 private:
  struct Alarm {
    uint64_t at_ns = kNever;
    uint64_t order = 0;
  };
  enum class Kind : uint8_t { turn, drain, step, process_drain, network, call };
  struct Due {
    Kind kind;
    uint32_t index;
  };
  struct Leaving {
    std::shared_ptr<Life> life;
    std::unique_ptr<Seat> seat;
  };
  struct Rank {
    std::unique_ptr<RankClock> clock{};
    std::shared_ptr<Life> life{};
    Processor processor{};
    Alarm turn{};
    Alarm drain{};
    bool sleeping = false;
    uint64_t incarnation = 0;
    uint64_t busy_until_ns = 0;
    uint64_t worked_ns = 0;  ///< when a turn last found something
    uint64_t paused_until_ns = 0;
    uint64_t slow_factor = 1;
    uint64_t slow_until_ns = 0;
    uint32_t idle_turns = 0;
    uint32_t lanes_used = 0;
    std::vector<uint32_t> free_lanes{};
    std::vector<Fd> sockets{};  ///< closed at its death
    std::vector<Leaving> leaving{};
    RankCounters counters{};
  };
  struct ProcessSlot {
    std::unique_ptr<Process> what{};
    Alarm step{};
    Alarm drain{};
  };

  void set(Alarm& alarm, uint64_t at_ns, Kind kind, uint32_t index);
  void dispatch(const Due& due);
  void take_turn(uint32_t number);
  void go_to_sleep(uint32_t number);
  void wake(uint32_t number);
  void step(uint32_t number);
  /// Lets stores of a processor become visible; what stays behind is due at `alarm`.
  void drain(Processor& processor, Alarm& alarm, Kind kind, uint32_t index);
  void drain_rank(uint32_t number);
  void drain_process(uint32_t number);
  void run_network();
  void tell_touched();
  void poke(uint32_t rank, uint64_t at_ns);
  [[nodiscard]] Turn charge(Rank& rank, uint32_t done, uint64_t posts);
  [[nodiscard]] uint64_t idle_turn_ns(const Rank& rank) const;
  void tell_processes(uint32_t rank, uint64_t at_ns);
  void look_for_wakes(uint32_t rank);
  void reap(Rank& rank);
  void drain_everyone(uint32_t rank);
  [[nodiscard]] uint64_t store_delay();
  [[nodiscard]] Alarm* alarm_of(const Due& due);

  const ClusterOptions options_;
  Routing routing_;
  uint64_t store_delay_ns_max_;
  uint64_t sleep_after_ns_;
  std::vector<Rank> ranks_;
  std::vector<ProcessSlot> processes_;
  std::vector<std::function<void()>> calls_;
  std::vector<uint32_t> touched_;
  std::vector<uint32_t> rank_of_endpoint_;  ///< of all that ever were
  Alarm network_alarm_{};
  EventQueue<Due> due_{};
  uint64_t late_drains_ = 0;
};

}  // namespace copykv::sim
