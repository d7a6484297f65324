// SPDX-License-Identifier: Apache-2.0
// What must happen now and then: silent lanes are parked, expired items dropped, counters shown.
#include "base/planted.hpp"
#include "daemon/engine.hpp"
#include "shm/wake.hpp"

namespace copykv {
namespace {

constexpr uint32_t kSilentChecksBeforeParking = 32;  // about 16,000 turns
constexpr uint32_t kBucketsSweptPerHousekeeping = 8;

}  // namespace

void Engine::tick() noexcept {
  const uint64_t now_ns = clock_.now_ns();
  store_.begin_turn(now_ns / kNanosPerMilli);
  if (network_ != nullptr) network_->tick(now_ns);
  housekeep();
}

bool Engine::begin_sleep() noexcept {
  tick();
  poke<uint32_t>(block_.sleeping, 1);
  heavy_fence(true);  // [C]
  if (has_work() && !COPYKV_PLANTED(lost_wakeup)) return false;
  count<uint64_t>(block_.sleeps, 1);
  return true;
}

void Engine::end_sleep() noexcept {
  poke<uint32_t>(block_.sleeping, 0);
  tick();
}

void Engine::housekeep() noexcept {
  park_silent_lanes();
  (void)store_.sweep(kBucketsSweptPerHousekeeping);
  show_counters();
}

/// One pass over the ground queue, which costs what one scan of it costs.
void Engine::park_silent_lanes() noexcept {
  for (uint32_t index = 0; index < ground_count_;) {
    Lane& lane = *ground_[index];
    if (lane.position() != lane.position_at_check) {
      lane.position_at_check = lane.position();
      lane.silent_checks = 0;
    } else if (++lane.silent_checks >= kSilentChecksBeforeParking && ground_count_ > 1) {
      lane.place = Lane::Place::parked;
      ground_[index] = ground_[--ground_count_];
      parked_[parked_count_++] = &lane;
      continue;
    }
    ++index;
  }
}

void Engine::show_counters() noexcept {
  const StoreCounters store = store_.counters();
  poke(block_.turns, turns_);
  poke(block_.busy_turns, busy_turns_);
  poke<uint64_t>(block_.lanes_parked, parked_count_);
  poke(block_.items, store.items);
  poke(block_.item_bytes_used, store.arena_used_bytes);
  poke(block_.index_bytes, store.index_bytes);
  poke(block_.populated_bytes, store.populated_bytes);
  poke(block_.budget_bytes, store.budget_bytes);
  poke(block_.expired, store.expired);
  poke(block_.chain_full, store.chain_full);
  if (network_ != nullptr) network_->show(block_);
}

}  // namespace copykv
