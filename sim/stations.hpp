// SPDX-License-Identifier: Apache-2.0
// Where each request of a simulated cluster is at each moment: it is stamped at every station that
// it passes, so that its latency is the sum of its parts, to the nanosecond.
//
//   remote  published, seen by the own daemon, posted, in service at the send queue, sent, there,
//           seen by the owner; its answer posted, in service, sent, there; seen by the own daemon,
//           written, seen by the client
//   local   published, seen by the daemon, written, seen by the client
//
// Also how busy each station is: processors and send queues.
//
// THREADS  One. The cluster's ranks live as long as the recorder is used: none dies.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/histogram.hpp"
#include "daemon/network.hpp"
#include "daemon/request.hpp"
#include "sim/observer.hpp"

namespace copykv::sim {

inline constexpr std::array<std::string_view, 13> kRemoteStations = {
    "client_to_daemon",     // published, until the daemon's turn begins
    "daemon_until_posted",  // the turn, and waiting for company
    "request_queue",        // behind others in the send queue
    "request_nic",          // being sent
    "request_wire",         // until the peer could poll it
    "peer_unseen",          // until the peer's turn begins
    "peer_until_posted",    // executed, answered, waiting for company
    "answer_queue",        "answer_nic", "answer_wire",
    "daemon_unseen",     // until the own daemon's turn begins
    "response_written",  // the turn
    "daemon_to_client",
};
inline constexpr std::array<std::string_view, 3> kLocalStations = {
    "client_to_daemon", "daemon_executes", "daemon_to_client"};

/// How many, and the time that they took together.
struct Cycle {
  uint64_t count = 0;
  uint64_t sum_ns = 0;

  void add(uint64_t took_ns) noexcept {
    ++count;
    sum_ns += took_ns;
  }
};

/// What a daemon did in a run.
struct DaemonWork {
  uint64_t turns = 0;  ///< also those that found nothing
  uint64_t busy_turns = 0;
  uint64_t busy_ns = 0;  ///< of the busy turns
  uint64_t locals = 0;
  uint64_t calls = 0;
  uint64_t answers = 0;
  uint64_t inbound = 0;
  uint64_t posts = 0;
  uint64_t batches = 0;
  uint64_t messages = 0;
  uint64_t lanes_sum = 0;  ///< on the ground queue, over all turns
  Histogram rtt{};         ///< of each call, from its turn to that of its answer
  std::array<Histogram, kPhaseCount> phases{};
  std::vector<Cycle> queues{};  ///< its send queues: posts, and time to serve them
};

/// What was measured from `begin` on.
struct StationReport {
  std::array<Histogram, kRemoteStations.size()> remote{};
  std::array<Histogram, kLocalStations.size()> local{};
  Histogram remote_total{};
  Histogram local_total{};
  std::vector<DaemonWork> daemons{};  ///< by rank
  std::map<uint32_t, Cycle> turns_by_items{};
  std::map<uint32_t, Cycle> batches_by_messages{};  ///< time since the batch before, to that peer
  uint64_t unmatched = 0;  ///< requests whose stamps do not fit together: a mistake
};

class StationRecorder final : public Observer {
 public:
  StationRecorder(uint32_t ranks, uint32_t lanes_max, uint32_t depth, uint32_t send_queues,
                  const Clock& clock);

  /// Told after each turn.
  std::function<void(const Turn&)> after_turn{};

  /// Forgets what it counted.
  void begin();
  [[nodiscard]] const StationReport& report() const { return report_; }

  /// A client has asked, and sees the answer that a turn has written.
  void published(uint32_t rank, uint32_t lane, uint32_t slot, uint64_t at_ns);
  void answered(uint32_t rank, uint32_t lane, uint32_t slot, bool remote, uint64_t turn_ns,
                uint64_t written_ns);
  void seen(uint32_t rank, uint32_t lane, uint32_t slot, bool remote);
  /// Lanes of `rank` that calls were answered on since the last call.
  [[nodiscard]] std::vector<uint32_t>& answered_lanes(uint32_t rank) { return answered_[rank]; }

  void on_call(uint32_t rank, uint32_t to, const Ticket& ticket) override;
  void on_answer(uint32_t rank, const Ticket& ticket) override;
  void on_inbound(uint32_t rank, uint32_t index, uint32_t from) override;
  void on_put_back(uint32_t rank, uint32_t index) override;
  void on_reply(uint32_t rank, uint32_t index) override;
  void on_move(uint32_t rank, uint32_t index, uint32_t move) override;
  void on_reply_moved(uint32_t rank, uint32_t move) override;
  void on_departure(const copyrpc::SimNetwork::Departure& departure) override;
  void on_turn(const Turn& turn) override;

 private:
  /// The moments of one request; each but the first ends one station.
  using Stamps = std::array<uint64_t, kRemoteStations.size() + 1>;
  struct Staged {
    Stamps* stamps;
    bool is_answer;
  };
  struct Taken {
    Stamps* stamps = nullptr;
    uint32_t from = 0;
  };
  /// From one rank to another.
  struct Way {
    std::deque<Staged> staged{};
    std::deque<Stamps*> arriving{};  ///< calls
    uint64_t last_batch_ns = 0;
    uint32_t begun_messages = 0;  ///< of the batch whose first part has left; 0: none has
  };
  [[nodiscard]] Stamps& stamps_of(uint32_t rank, uint32_t lane, uint32_t slot) {
    return stamps_[(size_t{rank} * lanes_max_ + lane) * depth_ + slot];
  }
  [[nodiscard]] Way& way(uint32_t from, uint32_t to) { return ways_[size_t{from} * ranks_ + to]; }
  void reply(uint32_t rank, const Taken& taken);

  const uint32_t ranks_;
  const uint32_t lanes_max_;
  const uint32_t depth_;
  const uint32_t send_queues_;
  const Clock& clock_;
  std::vector<Stamps> stamps_;
  std::vector<Way> ways_;
  std::vector<std::array<Taken, kGroupMax>> taken_;   ///< by rank
  std::vector<std::array<Taken, kMovesMax>> moving_;  ///< by rank
  std::vector<std::vector<uint32_t>> answered_;
  std::array<uint64_t, kPhaseCount> idle_phase_ns_{};  ///< of the last turn that found nothing
  StationReport report_{};
};

}  // namespace copykv::sim
