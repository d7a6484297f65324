// SPDX-License-Identifier: Apache-2.0
// The ground queue: looking at lanes, taking requests off them, and running them in groups.
#include "base/assert.hpp"
#include "daemon/engine.hpp"
#include "shm/wake.hpp"

namespace copykv {

void Engine::to_ground(Lane& lane) noexcept {
  lane.place = Lane::Place::ground;
  lane.silent_checks = 0;
  ground_[ground_count_++] = &lane;
}

uint32_t Engine::scan_ground_queue() noexcept {
  uint32_t done = 0;
  if (parked_count_ > 0) look_at_parked_lane();
  // Lanes that come back to the queue during the scan are behind `lanes` and wait for the next.
  const uint32_t lanes = ground_count_;
  for (uint32_t index = 0; index < lanes; ++index) {
    Lane& lane = *ground_[index];
    // Usually an unchanged line in this core's cache: one load and one compare.
    const uint32_t seen = head_seq(peek(lane.slots[lane.next_slot].request.head));
    if (seen == lane.seq) {
      take_from(lane);
    } else if (seen + 1 != lane.seq) [[unlikely]] {
      refuse_sequence(lane, seen);
    } else if ((lane.remote_slots >> lane.next_slot & 1) != 0) [[unlikely]] {
      lane.place = Lane::Place::full;
      dropped_ = true;
    }
    if (group_count_ == kGroupMax) done += run_group();
  }
  if (group_count_ > 0) done += run_group();
  // Drop the lanes that left the queue, keeping the order of the others.
  if (dropped_) [[unlikely]] {
    uint32_t kept = 0;
    for (uint32_t index = 0; index < ground_count_; ++index) {
      if (ground_[index]->place == Lane::Place::ground) ground_[kept++] = ground_[index];
    }
    ground_count_ = kept;
    dropped_ = false;
  }
  return done;
}

/// Takes requests in ring order while there are any, up to the end of the group.
void Engine::take_from(Lane& lane) noexcept {
  const uint32_t slots_max = lane.depth;
  for (uint32_t taken = 0; taken < slots_max && group_count_ < kGroupMax; ++taken) {
    const uint64_t head = observe(lane.slots[lane.next_slot].request.head);  // [A]
    if (head_seq(head) != lane.seq) return;
    if ((lane.remote_slots >> lane.next_slot & 1) != 0) [[unlikely]]
      return;  // not answered yet
    Pending& pending = group_[group_count_];
    read_request(lane, head, limits_, key_rooms_[group_count_].bytes, pending);
    if (pending.status == Status::ok) store_.prefetch(pending.key.hash);
    ++group_count_;
    lane.advance();
    prefetch(&lane.slots[lane.next_slot].request);
  }
}

uint32_t Engine::run_group() noexcept {
  const uint32_t group = group_count_;
  group_count_ = 0;
  for (uint32_t index = 0; index < group; ++index) {
    if (group_[index].status != Status::ok) continue;
    group_[index].probe = store_.probe(group_[index].key.hash);
  }
  uint32_t done = 0;
  for (uint32_t index = 0; index < group; ++index) {
    Pending& pending = group_[index];
    const Progress progress = execute(pending);
    if (progress == Progress::answered) [[likely]] {
      ++done;
      continue;
    }
    // The lane stops here: what else was taken from it goes back and is looked at again.
    Lane& lane = *pending.lane;
    uint32_t rest = index + 1;
    while (rest < group && group_[rest].lane == &lane) ++rest;
    if (progress == Progress::again) {
      count<uint64_t>(block_.deferred, 1);
      lane.rewind_to(pending.slot, pending.seq);
    } else {
      ++done;
      if (rest > index + 1) lane.rewind_to(group_[index + 1].slot, group_[index + 1].seq);
    }
    index = rest - 1;
  }
  count<uint64_t>(block_.groups, 1);
  count<uint64_t>(block_.requests, done);
  wake_clients(group);
  return done;
}

/// Wakes each client of the group that has announced its sleep; usually none.
void Engine::wake_clients(uint32_t group) noexcept {
  bool fence_free = true;
  for (uint32_t index = 0; index < group; ++index) fence_free &= group_[index].lane->fence_free;
  light_fence(fence_free);  // [D]
  const Lane* last = nullptr;
  for (uint32_t index = 0; index < group; ++index) {
    Lane* lane = group_[index].lane;
    if (lane == last) continue;
    last = lane;
    wake_client(*lane);
  }
}

void Engine::wake_client(Lane& lane) noexcept {
  uint32_t& sleeping = lane.setup.control->sleeping;
  if (peek(sleeping) == 0 || exchange<uint32_t>(sleeping, 0) == 0) return;
  count<uint64_t>(block_.wakes_sent, 1);
  wake_futex(sleeping);
}

/// A sequence that is neither the last nor the next: answered once as bad_request, then ignored.
void Engine::refuse_sequence(Lane& lane, uint32_t seq) noexcept {
  if (seq == lane.refused_seq) return;
  lane.refused_seq = seq;
  count<uint64_t>(block_.bad_sequences, 1);
  answer(lane, {lane.setup.id, lane.next_slot, seq}, Status::bad_request, Placement::line, 0, 0, 0);
}

/// One parked lane a turn: a thousand silent clients cost what one costs.
void Engine::look_at_parked_lane() noexcept {
  if (parked_cursor_ >= parked_count_) parked_cursor_ = 0;
  Lane& lane = *parked_[parked_cursor_];
  if (lane.has_request()) {
    parked_[parked_cursor_] = parked_[--parked_count_];
    to_ground(lane);
    return;
  }
  if (++parked_cursor_ < parked_count_) {
    const Lane& next = *parked_[parked_cursor_];
    prefetch(&next.slots[next.next_slot].request);
  }
}

}  // namespace copykv
