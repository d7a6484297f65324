// SPDX-License-Identifier: Apache-2.0
// The ground queue: looking at lanes, taking requests off them, and running them in groups.
#include <algorithm>
#include <span>
#include <utility>

#include "base/assert.hpp"
#include "daemon/engine.hpp"
#include "shm/wake.hpp"

namespace copykv {
namespace {

// A look at a parked lane is two cache misses; a thousand of them come round in about 300 us.
constexpr uint64_t kTurnsPerParkedLook = 16;

/// Serves a get of a plain item whose value fits the line; false: nothing was done. The value's
/// last word is copied whole: items are padded, and the client looks at value_bytes.
[[nodiscard]] inline bool answer_plain_get(const Store& store, const Pending& p) noexcept {
  const Item* item = store.find_plain(p.key, p.probe);
  if (item == nullptr || item->value_bytes > kResponseLineDataBytes) return false;
  ResponseLine& line = p.slot->response;
  const auto* value =
      reinterpret_cast<const uint64_t*>(item->at(sizeof(Item) + round_up_8(p.key.bytes)));
  if (item->value_bytes > 0) poke(line.data[0], value[0]);
  for (uint32_t word = 1; word * 8 < item->value_bytes; ++word) poke(line.data[word], value[word]);
  poke(line.value_bytes, item->value_bytes);
  poke(line.user_flags, 0U);
  poke(line.version, item->version);
  publish(line.head, response_head(p.seq, Status::ok, Placement::line));  // [B]
  return true;
}

/// Serves a put over a plain item of the same size; false: nothing was done.
[[nodiscard]] inline bool answer_plain_put(Store& store, const Pending& p) noexcept {
  const uint64_t version = store.overwrite_plain(p.key, p.probe, p.line_value(), p.value_bytes);
  if (version == 0) return false;
  ResponseLine& line = p.slot->response;
  poke(line.value_bytes, 0U);
  poke(line.user_flags, 0U);
  poke(line.version, version);
  publish(line.head, response_head(p.seq, Status::ok, Placement::line));  // [B]
  return true;
}

}  // namespace

void Engine::to_ground(Lane& lane) noexcept {
  lane.place = Lane::Place::ground;
  lane.silent_checks = 0;
  ground_[ground_count_++] = &lane;
}

uint32_t Engine::scan_ground_queue() noexcept {
  uint32_t done = 0;
  if (parked_count_ > 0 && turns_ % kTurnsPerParkedLook == 0) look_at_parked_lane();
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
    } else if (lane.next_in_flight()) [[unlikely]] {
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

/// Of whatever shape.
inline void Engine::read_any(Lane& lane, uint64_t head, Slot& slot, Pending& pending) noexcept {
  const auto key_bytes = static_cast<uint32_t>(head >> 48);
  if (is_plain(head, Op::get)) {
    read_plain(lane, lane.seq, key_bytes, slot, Path::plain_get, pending);
  } else if (!is_plain(head, Op::put) || !read_plain_put(lane, key_bytes, limits_, slot, pending)) {
    const auto index = static_cast<size_t>(&pending - group_.data());
    read_request(lane, head, limits_, key_rooms_[index].bytes, pending);
  }
}

/// Takes requests in ring order while there are any, up to the end of the group.
void Engine::take_from(Lane& lane) noexcept {
  Pending* pending = &group_[group_count_];
  const Pending* const end = pending + std::min(lane.depth, kGroupMax - group_count_);
  for (; pending != end; ++pending) {
    Slot& slot = lane.slots[lane.next_slot];
    const uint64_t head = observe(slot.request.head);  // [A]
    if (lane.next_in_flight()) break;
    const uint64_t shape = head ^ lane.seq;
    if (shape == plain_of_8(Op::get)) [[likely]] {
      read_plain(lane, lane.seq, 8, slot, Path::plain_get, *pending);
    } else if (shape != plain_of_8(Op::put) || !read_plain_put(lane, 8, limits_, slot, *pending)) {
      if (head_seq(shape) != 0) break;  // nothing new
      read_any(lane, head, slot, *pending);
    }
    locate(*pending);
    lane.advance();
  }
  group_count_ = static_cast<uint32_t>(pending - group_.data());
}

/// Where the key of a request is looked up: here, or at another rank.
inline void Engine::locate(Pending& pending) noexcept {
  if (!alone_ && pending.path != Path::general) [[unlikely]] {
    const uint32_t owner = owner_of(pending.key.hash);
    if (owner >= options_.daemon_count) {
      pending.set_remote(owner);
      ++group_remote_;
      return;
    }
    if (owner != options_.daemon) pending.widen();  // to be refused
  }
  store_.locate(pending.probe, pending.key.hash);
}

uint32_t Engine::run_group() noexcept {
  const std::span<Pending> group(group_.data(), group_count_);
  group_count_ = 0;
  if (group_remote_ == 0) [[likely]] {
    for (Pending& pending : group) store_.look(pending.probe, pending.key.hash);
  } else if (std::exchange(group_remote_, 0) < group.size()) {
    for (Pending& pending : group) {
      if (!is_remote(pending.path)) store_.look(pending.probe, pending.key.hash);
    }
  }
  uint32_t done = 0;
  uint32_t plain_gets = 0;
  uint32_t plain_puts = 0;
  const Pending* const end = group.data() + group.size();
  for (Pending* pending = group.data(); pending != end;) {
    if (pending->path == Path::plain_get && answer_plain_get(store_, *pending)) [[likely]] {
      ++plain_gets;
      ++pending;
    } else if (pending->path == Path::plain_put && answer_plain_put(store_, *pending)) {
      ++plain_puts;
      ++pending;
    } else if (is_remote(pending->path)) {
      pending = send_run(pending, end, done);
    } else {
      pending = run_one(pending, end, done);
    }
  }
  done += plain_gets + plain_puts;
  count<uint64_t>(block_.groups, 1);
  count<uint64_t>(block_.requests, done);
  count<uint64_t>(block_.by_op[static_cast<uint8_t>(Op::get)], plain_gets);
  count<uint64_t>(block_.by_op[static_cast<uint8_t>(Op::put)], plain_puts);
  count<uint64_t>(block_.by_status[static_cast<uint8_t>(Status::ok)], plain_gets + plain_puts);
  wake_clients(group);
  return done;
}

/// Executes one request and returns the next to execute.
Pending* Engine::run_one(Pending* pending, const Pending* end, uint32_t& done) noexcept {
  if (pending->path != Path::general) pending->widen();
  return go_on(pending, end, execute(*pending), done);
}

/// Sends the plain requests of other ranks that stand together here. Returns the next to execute.
Pending* Engine::send_run(Pending* first, const Pending* end, uint32_t& done) noexcept {
  auto sent = Network::Sent::unreachable;
  const uint32_t accepted = network_ == nullptr ? 0 : network_->call_plain({first, end}, sent);
  Pending* const stopped = first + accepted;
  uint32_t puts = 0;
  for (const Pending* pending = first; pending != stopped; ++pending) {
    pending->lane->remote_slots |= uint64_t{1} << pending->slot_index();
    puts += pending->path == Path::remote_put;
  }
  done += accepted;
  count<uint64_t>(block_.remote_calls, accepted);
  count<uint64_t>(block_.by_op[static_cast<uint8_t>(Op::get)], accepted - puts);
  count<uint64_t>(block_.by_op[static_cast<uint8_t>(Op::put)], puts);
  if (stopped == end || !is_remote(stopped->path)) [[likely]]
    return stopped;
  if (sent == Network::Sent::full) return go_on(stopped, end, Progress::again, done);
  return run_one(stopped, end, done);  // which refuses it
}

/// After `pending`: returns the next to execute. Where its lane stops, the lane's other requests go
/// back to be looked at again.
Pending* Engine::go_on(Pending* pending, const Pending* end, Progress progress,
                       uint32_t& done) noexcept {
  Lane& lane = *pending->lane;
  Pending* next = pending + 1;
  if (progress != Progress::again) ++done;
  if (progress == Progress::answered) [[likely]]
    return next;
  if (progress == Progress::again) {
    count<uint64_t>(block_.deferred, 1);
    lane.rewind_to(pending->slot_index(), pending->seq);
  } else if (next != end && next->lane == &lane) {
    lane.rewind_to(next->slot_index(), next->seq);
  }
  while (next != end && next->lane == &lane) ++next;
  return next;
}

/// Wakes each client of the group that has announced its sleep; usually none.
void Engine::wake_clients(std::span<const Pending> group) noexcept {
  if (group.front().lane == group.back().lane) {  // a lane's requests stand together
    wake_client(*group.front().lane);
    return;
  }
  const Lane* last = nullptr;
  for (const Pending& pending : group) {
    if (pending.lane == last) continue;
    last = pending.lane;
    wake_client(*pending.lane);
  }
}

/// After answers were published to it.
void Engine::wake_client(Lane& lane) noexcept {
  light_fence(lane.fence_free);  // [D]
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

/// One parked lane: a thousand silent clients cost what one costs.
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
