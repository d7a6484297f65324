// SPDX-License-Identifier: Apache-2.0
// Where the time of sampled requests between real ranks went. What the client saw, what its daemon
// wrote down and what the owner's daemon wrote down are joined by the names that they share, and
// the clocks of the ranks are aligned (clock_offset.hpp): a latency is then the sum of its parts,
// to the nanosecond.
//
//   client and daemon   client, daemon thread, slot, sequence
//   the two daemons     who asks, and the mark that it gave
//
// LOST   What has no partner (overwritten, never written down) is counted, and nothing else. What
//   is out of order although the clocks are aligned is counted, and not used.
// BOUNDS Nobody sees a message arrive. The last look that did not find it bounds the moment: what
//   is called unseen is the most that it can have waited, what is called network the least that it
//   can have travelled (queue of the sender, its post, NIC and wire).
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/histogram.hpp"
#include "bench/clock_offset.hpp"
#include "bench/codec.hpp"
#include "bench/measure.hpp"
#include "shm/station_ring.hpp"

namespace copykv::bench {

/// Names as of a simulated request (sim/stations.hpp) where they mean the same.
inline constexpr std::array<std::string_view, 11> kRealStations = {
    "client_to_daemon",     // submitted, until the daemon has it in hand
    "daemon_stages",        // encoded, into a batch
    "staged_until_posted",  // waiting for company
    "request_network",      // posted, until the peer's last look that did not find it
    "peer_unseen",          // at most, until the peer sees it
    "peer_executes",        // until its answer is staged
    "answer_until_posted",  // waiting for company
    "answer_network",       // posted, until the own daemon's last look that did not find it
    "daemon_unseen",        // at most, until the own daemon sees it
    "response_written",     // at most
    "daemon_to_client",
};

/// A daemon thread of the job.
struct Place {
  uint32_t rank = 0;
  uint32_t daemon = 0;
  auto operator<=>(const Place&) const = default;
};

/// A request as the rank that asks knows it; moments by its clock.
struct CallSample {
  Place caller{};
  Place owner{};
  uint64_t mark = 0;
  uint64_t published_ns = 0;
  std::array<uint64_t, StationRecord::kMoments> at_ns{};
  uint64_t client_seen_ns = 0;
};

/// As the rank knows it that owns the key; moments by its clock.
struct AnswerSample {
  Place caller{};
  Place owner{};
  uint64_t mark = 0;
  std::array<uint64_t, StationRecord::kMoments> at_ns{};
};

/// What one rank, or all of them, know.
struct StationSamples {
  uint64_t sampled = 0;  ///< requests that clients have marked
  std::vector<CallSample> calls{};
  std::vector<AnswerSample> answers{};

  StationSamples& operator+=(const StationSamples& other);
};
/// What a rank tells: more would not fit the note that it writes (bench/team.hpp).
inline constexpr size_t kSamplesToldMax = 65'536;

/// The records of one rank with what its clients kept. `records[d]` are of its daemon thread d.
[[nodiscard]] StationSamples join_clients(uint32_t rank,
                                          std::span<const std::vector<StationRecord>> records,
                                          uint64_t sampled, std::span<const ClientSample> clients);

void encode(Encoder& out, const StationSamples& samples);
[[nodiscard]] StationSamples decode_stations(Decoder& in);

struct ClockPair {
  uint32_t rank = 0;
  uint32_t other = 0;  ///< whose clock is ahead by the offset
  uint64_t requests = 0;
  std::vector<OffsetWindow> windows{};

  [[nodiscard]] uint64_t error_ns_max() const noexcept;
  [[nodiscard]] bool fits_all() const noexcept;
};

struct RealStationReport {
  std::array<Histogram, kRealStations.size()> parts{};
  Histogram total{};
  uint64_t sampled = 0;
  uint64_t out_of_order = 0;
  std::vector<ClockPair> clocks{};

  [[nodiscard]] uint64_t lost() const noexcept {
    return sampled - std::min(sampled, total.count() + out_of_order);
  }
};

/// Of all ranks.
[[nodiscard]] RealStationReport add_up(const StationSamples& samples);

}  // namespace copykv::bench
