// SPDX-License-Identifier: Apache-2.0
// The measured loop (bench/worker.hpp) as a process of a simulated cluster: the same load, stamps
// and checks, step by step under virtual time.
//
// TIME  A client needs client_ns of the profile from an answer to its next operation; several
//   answers at once keep it busy one after the other. What it publishes, the daemon can see line_ns
//   later, so that is when its code runs; stamps are of the moment before.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "bench/measure.hpp"
#include "bench/worker.hpp"
#include "sim/cluster.hpp"
#include "sim/stations.hpp"

namespace copykv::bench {

/// When in its turn a daemon writes each response: answers of other ranks in its first phase, those
/// to requests for own keys while it goes through the ground queue, evenly.
class TurnWrites {
 public:
  explicit TurnWrites(const sim::Turn& turn) : turn_(turn) {}
  [[nodiscard]] const sim::Turn& turn() const { return turn_; }
  [[nodiscard]] uint64_t next_ns(bool remote) {
    if (remote) return share(turn_.at_ns, turn_.phase_ns[0], ++answers_, turn_.answers);
    return share(turn_.at_ns + turn_.phase_ns[0] + turn_.phase_ns[1], turn_.phase_ns[2], ++locals_,
                 turn_.locals);
  }

 private:
  static uint64_t share(uint64_t from_ns, uint64_t took_ns, uint64_t number, uint64_t of) {
    return from_ns + took_ns * std::min(number, of) / std::max<uint64_t>(of, 1);
  }
  const sim::Turn& turn_;
  uint64_t answers_ = 0;
  uint64_t locals_ = 0;
};

class SimClient final : public sim::Process {
 public:
  SimClient(sim::Cluster& cluster, sim::StationRecorder& stations, uint32_t rank,
            const Workload& workload, const WorkerSetup& setup);
  ~SimClient() override;

  /// Its place at its rank; false: there is none left.
  [[nodiscard]] bool attach(uint64_t bulk_bytes);
  /// From window.start_ns on. Counts are added to `measured`, which its rank's clients share.
  void begin(const Window& window, Measurement& measured);
  /// Everything it has asked for is answered, and it will ask no more.
  [[nodiscard]] bool is_over() const { return measured_ == nullptr; }

  [[nodiscard]] uint64_t step(uint64_t now_ns) override;
  /// Takes what the turn has written for it. Returns when the last of it will be seen; kNever:
  /// there is nothing. `writes` is shared by all clients that look at the turn.
  [[nodiscard]] uint64_t look(TurnWrites& writes);
  /// One of its calls was answered in this turn.
  void expect_answer() { expects_ = true; }

 private:
  struct InFlight : StartedOp {
    uint32_t slot;  ///< of the lane
  };
  /// An answer on its way to the client.
  struct Arriving {
    uint64_t visible_ns;
    uint32_t tag;
    Status status;
  };

  void take(uint64_t now_ns);
  void finish(const Arriving& answer, uint64_t now_ns);
  [[nodiscard]] uint64_t submit_due(uint64_t now_ns);
  void submit(const PlannedOp& op, uint64_t at_ns, uint64_t meant_ns);
  void integrate(uint64_t now_ns);
  void end();

  sim::Cluster& cluster_;
  sim::StationRecorder& stations_;
  const WorkerSetup setup_;
  const bool open_;
  std::unique_ptr<sim::Attachment> attachment_{};
  uint32_t lane_ = 0;

  OpStream stream_;
  KeyText key_text_;
  std::vector<char> value_;
  uint64_t sequence_ = 0;
  uint64_t submitted_ = 0;  ///< operations; the next one's slot follows from it
  uint32_t locals_ = 0;     ///< in flight
  bool expects_ = false;

  // Of the run.
  Measurement* measured_ = nullptr;
  Window window_{};
  std::unique_ptr<Schedule> schedule_{};
  uint64_t operations_ = 0;
  uint64_t ready_ns_ = 0;  ///< the processor is its own again
  uint64_t last_change_ns_ = 0;
  std::deque<uint64_t> places_{};  ///< free slots, by when the client gets round to them
  std::deque<Arriving> arriving_{};
  std::vector<uint32_t> free_tags_{};
  std::vector<InFlight> in_flight_;
  std::vector<InFlight> follow_ups_{};
  std::array<Completion, kQueueDepthMax> completions_{};
};

}  // namespace copykv::bench
