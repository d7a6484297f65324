// SPDX-License-Identifier: Apache-2.0
// What the daemon threads did during a run, from their counters in the rank page
// (shm/rank_page.hpp): the difference of two readings. `max` of a phase and of the round trip
// covers the daemon's whole life, since a maximum has no difference.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/histogram.hpp"
#include "bench/codec.hpp"
#include "shm/rank_page.hpp"

namespace copykv::bench {

struct DaemonSample {
  uint32_t rank = 0;
  uint32_t daemon = 0;
  uint64_t turns = 0;
  uint64_t busy_turns = 0;
  uint64_t requests = 0;
  uint64_t remote_calls = 0;
  uint64_t remote_answers = 0;
  uint64_t inbound_requests = 0;
  uint64_t messages_sent = 0;
  uint64_t batches_sent = 0;
  uint64_t ring_full = 0;
  uint64_t ground_queue_sum = 0;
  uint64_t sampled_turns = 0;
  Histogram rtt{};                              ///< of every 16th remote call
  std::array<Histogram, kPhaseCount> phases{};  ///< of the sampled turns

  [[nodiscard]] double per_turn(uint64_t count) const noexcept {
    return turns > 0 ? static_cast<double>(count) / static_cast<double>(turns) : 0;
  }
  [[nodiscard]] double ground_queue_mean() const noexcept {
    return sampled_turns > 0
               ? static_cast<double>(ground_queue_sum) / static_cast<double>(sampled_turns)
               : 0;
  }
};

/// The counters of one daemon as they stand.
[[nodiscard]] DaemonSample read_counters(const DaemonBlock& block, uint32_t rank, uint32_t daemon);

/// `later` minus `earlier`, which are of the same daemon.
[[nodiscard]] DaemonSample difference(const DaemonSample& later, const DaemonSample& earlier);

void encode(Encoder& out, const DaemonSample& sample);
[[nodiscard]] DaemonSample decode_daemon(Decoder& in);

/// What went between the ranks, of all daemons together.
struct Traffic {
  Histogram rtt{};  ///< from call to answer
  uint64_t messages = 0;
  uint64_t batches = 0;

  [[nodiscard]] double messages_per_batch() const noexcept {
    return batches > 0 ? static_cast<double>(messages) / static_cast<double>(batches) : 0;
  }
};
[[nodiscard]] Traffic traffic_of(const std::vector<DaemonSample>& daemons);

}  // namespace copykv::bench
