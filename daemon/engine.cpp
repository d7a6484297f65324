// SPDX-License-Identifier: Apache-2.0
#include "daemon/engine.hpp"

#include <algorithm>
#include <bit>

#include "base/assert.hpp"
#include "shm/wake.hpp"

namespace copykv {
namespace {

constexpr uint32_t kCommandsPerTurn = 4;
constexpr uint64_t kTurnsPerSample = 512;

}  // namespace

Engine::Engine(const EngineOptions& options, const RankHeader& rank, DaemonBlock& block,
               Store& store, const Clock& clock, Network* network)
    : options_(options),
      limits_{options.value_bytes_max},
      alone_(options.daemon_count == 1 && rank.rank_count == 1),
      rank_(rank),
      block_(block),
      store_(store),
      clock_(clock),
      network_(network),
      lanes_(options.lanes_max),
      ground_(options.lanes_max),
      parked_(options.lanes_max),
      transfers_(options.lanes_max),
      closing_(options.lanes_max),
      key_rooms_(kGroupMax) {
  COPYKV_ASSERT(std::has_single_bit(options.turns_per_clock_read) &&
                    options.turns_per_clock_read <= kTurnsPerSample,
                "turns_per_clock_read={}", options.turns_per_clock_read);
  store_.begin_turn(clock_.now_ns() / kNanosPerMilli);
  show_counters();
}

uint32_t Engine::turn() noexcept {
  if ((++turns_ & (options_.turns_per_clock_read - 1)) == 0) [[unlikely]]
    return timed_turn();
  uint32_t done = 0;
  if (network_ != nullptr) {
    done += take_answers();
    if (moves_out_ + commit_count_ > 0) [[unlikely]]
      done += end_moves();
    done += serve_inbound();
  }
  done += scan_ground_queue();
  if (transfer_count_ > 0) [[unlikely]]
    done += step_transfers();
  if (network_ != nullptr) network_->flush();
  busy_turns_ += done > 0;
  return done;
}

/// A turn that also reads the clock, times its phases, and does what is not for every turn.
uint32_t Engine::timed_turn() noexcept {
  const uint64_t started_ns = clock_.now_ns();
  store_.begin_turn(started_ns / kNanosPerMilli);
  uint32_t done = 0;
  if (network_ != nullptr) {
    network_->tick(started_ns);
    done += take_answers();
  }
  const bool sampled = turns_ % kTurnsPerSample == 0;
  const uint64_t answered_ns = sampled ? clock_.now_ns() : 0;
  if (network_ != nullptr) done += end_moves() + serve_inbound();
  const uint64_t served_ns = sampled && network_ != nullptr ? clock_.now_ns() : answered_ns;
  done += scan_ground_queue();
  if (transfer_count_ > 0) done += step_transfers();
  const uint64_t scanned_ns = sampled ? clock_.now_ns() : 0;
  if (network_ != nullptr) network_->flush();
  const uint64_t ended_ns = sampled ? clock_.now_ns() : 0;
  busy_turns_ += done > 0;

  if (!commands_.empty()) done += take_commands();
  if (closing_count_ > 0) free_closing_lanes();
  if (sampled) {
    auto phase = [&](Phase which) -> PhaseHistogram& {
      return block_.phases[static_cast<uint8_t>(which)];
    };
    phase(Phase::completions).record(answered_ns - started_ns);
    if (network_ != nullptr) phase(Phase::inbound).record(served_ns - answered_ns);
    phase(Phase::ground_queue).record(scanned_ns - served_ns);
    phase(Phase::flush).record(ended_ns - scanned_ns);
    block_.turn_ns.record(ended_ns - started_ns);
    if (ended_ns - started_ns > peek(block_.longest_turn_ns)) {
      poke(block_.longest_turn_ns, ended_ns - started_ns);
    }
    count<uint64_t>(block_.sampled_turns, 1);
    count<uint64_t>(block_.ground_queue_sum, ground_count_);
    housekeep();
  }
  return done;
}

bool Engine::has_work() const noexcept {
  if (transfer_count_ > 0 || commit_count_ > 0 || closing_count_ > 0 || !commands_.empty() ||
      (network_ != nullptr && network_->busy())) {
    return true;
  }
  for (uint32_t index = 0; index < ground_count_; ++index) {
    if (ground_[index]->has_request()) return true;
  }
  for (uint32_t index = 0; index < parked_count_; ++index) {
    if (parked_[index]->has_request()) return true;
  }
  return false;
}

uint32_t Engine::take_commands() noexcept {
  uint32_t taken = 0;
  Command command;
  for (; taken < kCommandsPerTurn && commands_.pop(command); ++taken) {
    switch (command.kind) {
      case Command::Kind::attach:
        attach(command.lane);
        break;
      case Command::Kind::close:
        close(command.lane.id);
        break;
      case Command::Kind::set_peer:
        if (network_ != nullptr) network_->set_peer(*command.card);
        break;
    }
  }
  return taken;
}

void Engine::attach(const LaneSetup& setup) noexcept {
  COPYKV_ASSERT(setup.id < lanes_.size(), "lane={} lanes_max={}", setup.id, lanes_.size());
  Lane& lane = lanes_[setup.id];
  COPYKV_ASSERT(lane.place == Lane::Place::none, "lane={} is attached", setup.id);
  lane.attach(setup);
  to_ground(lane);
  poke<uint64_t>(block_.lanes, ++lane_count_);
}

void Engine::close(uint32_t id) noexcept {
  Lane& lane = lanes_[id];
  COPYKV_ASSERT(lane.place != Lane::Place::none, "lane={} is not attached", id);
  if (lane.place == Lane::Place::busy) store_.abort(lane.transfer);
  for (uint32_t index = 0; index < transfer_count_; ++index) {
    if (transfers_[index] == &lane) transfers_[index] = transfers_[--transfer_count_];
  }
  for (uint32_t index = 0; index < ground_count_; ++index) {
    if (ground_[index] == &lane) ground_[index] = ground_[--ground_count_];
  }
  for (uint32_t index = 0; index < parked_count_; ++index) {
    if (parked_[index] == &lane) parked_[index] = parked_[--parked_count_];
  }
  lane.place = Lane::Place::closing;
  closing_[closing_count_++] = &lane;
}

/// A lane is freed when no answer can be written to its memory any more.
void Engine::free_closing_lanes() noexcept {
  for (uint32_t index = 0; index < closing_count_;) {
    Lane& lane = *closing_[index];
    if (lane.remote_slots != 0) {
      ++index;
      continue;
    }
    closing_[index] = closing_[--closing_count_];
    uint32_t* closed = lane.setup.closed;
    lane = {};
    poke<uint64_t>(block_.lanes, --lane_count_);
    publish<uint32_t>(*closed, 1);  // from here on the control thread may unmap
  }
}

uint32_t Engine::take_answers() noexcept {
  const uint32_t count = network_->take_answers(answers_);
  Lane* last = nullptr;
  for (uint32_t index = 0; index < count; ++index) {
    Lane& lane = lanes_[answers_[index].ticket.lane];
    if (&lane != last) {
      if (last != nullptr) wake_client(*last);
      last = &lane;
    }
    take_answer(lane, answers_[index]);
  }
  if (last != nullptr) wake_client(*last);
  return count;
}

inline void Engine::take_answer(Lane& lane, const RemoteAnswer& remote) noexcept {
  const Ticket& ticket = remote.ticket;
  const uint64_t bit = uint64_t{1} << ticket.slot;
  COPYKV_ASSERT((lane.remote_slots & bit) != 0, "lane={} slot={}", ticket.lane, ticket.slot);
  lane.remote_slots &= ~bit;
  lane.moving_slot &= ~bit;
  if (lane.place == Lane::Place::closing) return;  // freed when the last one is back

  ResponseLine& line = lane.slots[ticket.slot].response;
  Placement placement = Placement::line;
  Status status = remote.status;
  if (remote.value == nullptr) [[unlikely]] {
    poke(line.data[0], static_cast<uint64_t>(remote.number));
    if (remote.in_room) placement = Placement::bulk;
  } else if (remote.value_bytes <= sizeof(uint64_t)) [[likely]] {
    // The client looks at value_bytes.
    if (remote.value_bytes > 0) copy_to_shared(line.data, remote.value, sizeof(uint64_t));
  } else if (remote.value_bytes <= kResponseLineDataBytes) {
    copy_to_shared(line.data, remote.value, remote.value_bytes);
  } else if (remote.value_bytes <= lane.setup.slot_payload_bytes) {
    placement = Placement::page;
    copy_to_shared(lane.payload_of(ticket.slot), remote.value, remote.value_bytes);
  } else {
    status = Status::buffer_too_small;
  }
  answer(lane, ticket, status, placement, remote.value_bytes, remote.user_flags, remote.version);
  if (lane.place == Lane::Place::full && lane.moving_slot == 0 && !lane.next_in_flight()) {
    to_ground(lane);
  }
}

bool Engine::is_valid() const {
  uint32_t counts[6] = {};
  for (const Lane& lane : lanes_) ++counts[static_cast<uint8_t>(lane.place)];
  auto count_of = [&](Lane::Place place) { return counts[static_cast<uint8_t>(place)]; };
  bool valid = count_of(Lane::Place::ground) == ground_count_ &&
               count_of(Lane::Place::parked) == parked_count_ &&
               count_of(Lane::Place::busy) == transfer_count_ &&
               count_of(Lane::Place::closing) == closing_count_;
  for (uint32_t index = 0; index < ground_count_; ++index) {
    valid = valid && ground_[index]->place == Lane::Place::ground;
  }
  for (uint32_t index = 0; index < parked_count_; ++index) {
    valid = valid && parked_[index]->place == Lane::Place::parked;
  }
  return valid;
}

}  // namespace copykv
