// SPDX-License-Identifier: Apache-2.0
// For whoever wants to know where the time of a simulated cluster goes: told of each step that a
// request takes, and of each turn. An observer changes nothing.
#pragma once

#include <array>
#include <cstdint>

#include "copyrpc/fabric/sim/sim_fabric.hpp"
#include "daemon/lane.hpp"
#include "shm/rank_page.hpp"

namespace copykv::sim {

/// What a turn did, and what the profile charges for it.
struct Turn {
  uint32_t rank = 0;
  uint64_t at_ns = 0;
  uint64_t over_ns = 0;
  uint64_t idle_before = 0;  ///< turns since the last one that were not taken: nothing to find
  uint32_t done = 0;
  uint32_t answers = 0;
  uint32_t inbound = 0;
  uint32_t calls = 0;
  uint32_t locals = 0;  ///< requests of own clients for own keys
  uint32_t posts = 0;
  uint32_t lanes = 0;                            ///< on the ground queue
  std::array<uint64_t, kPhaseCount> phase_ns{};  ///< the sum is over_ns - at_ns

  [[nodiscard]] bool is_busy() const noexcept { return done > 0 || posts > 0; }
};

/// Ranks and their order are the cluster's. All of one moment: the beginning of a turn.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_call(uint32_t rank, uint32_t to, const Ticket& ticket) = 0;
  virtual void on_answer(uint32_t rank, const Ticket& ticket) = 0;
  /// A call of rank `from` is taken as the `index`th of this turn; those of one rank come in the
  /// order in which it made them.
  virtual void on_inbound(uint32_t rank, uint32_t index, uint32_t from) = 0;
  /// It will come again. Of several, the newest first.
  virtual void on_put_back(uint32_t rank, uint32_t index) = 0;
  virtual void on_reply(uint32_t rank, uint32_t index) = 0;
  /// Its value moves first; the reply comes later.
  virtual void on_move(uint32_t rank, uint32_t index, uint32_t move) = 0;
  virtual void on_reply_moved(uint32_t rank, uint32_t move) = 0;
  /// Endpoints are ranks, as long as none has died.
  virtual void on_departure(const copyrpc::SimNetwork::Departure& departure) = 0;
  virtual void on_turn(const Turn& turn) = 0;
};

}  // namespace copykv::sim
