// SPDX-License-Identifier: Apache-2.0
// Large values: one chunk of one lane per turn, so that no turn is longer because a value is large
// and every other client is looked at between two chunks.
#include "base/assert.hpp"
#include "daemon/engine.hpp"
#include "shm/wake.hpp"

namespace copykv {
namespace {

// About 0.2 us of copying from memory that is in no cache.
constexpr uint32_t kChunkBytes = 2048;

}  // namespace

void Engine::make_busy(const Pending& p, std::byte* memory, Placement placement) noexcept {
  Lane& lane = *p.lane;
  lane.place = Lane::Place::busy;
  dropped_ = true;
  lane.transfer_ticket = p.ticket();
  lane.transfer_memory = memory;
  lane.transfer_placement = placement;
  transfers_[transfer_count_++] = &lane;
  count<uint64_t>(block_.transfers, 1);
}

Engine::Progress Engine::begin_large_get(const Pending& p, const StoreAnswer& found) noexcept {
  Lane& lane = *p.lane;
  std::byte* memory = lane.payload_of(p.slot_index());
  Placement placement = Placement::page;
  if (found.value_bytes > lane.setup.slot_payload_bytes) {
    if (found.value_bytes > p.room_bytes) {  // 0 when the request named no room
      answer(lane, p.ticket(), Status::buffer_too_small, Placement::line, found.value_bytes,
             found.user_flags, found.version);
      return Progress::answered;
    }
    memory = p.memory;
    placement = Placement::bulk;
  }
  const StoreAnswer begun = store_.begin_get(lane.transfer, p.key, p.probe);
  COPYKV_ASSERT(!lane.transfer.idle(), "status={}", static_cast<int>(begun.status));
  make_busy(p, memory, placement);
  lane.transfer_user_flags = begun.user_flags;
  lane.transfer_version = begun.version;
  return Progress::busy;
}

Engine::Progress Engine::begin_large_put(const Pending& p) noexcept {
  const PutRequest request{.value_bytes = p.value_bytes,
                           .user_flags = p.user_flags,
                           .ttl_ms = p.ttl_ms,
                           .condition = static_cast<Condition>(p.condition),
                           .if_version = p.argument};
  const StoreAnswer begun = store_.begin_put(p.lane->transfer, p.key, p.probe, request);
  if (p.lane->transfer.idle()) return finish(p, begun);
  make_busy(p, p.memory, Placement::line);
  return Progress::busy;
}

uint32_t Engine::step_transfers() noexcept {
  if (transfer_cursor_ >= transfer_count_) transfer_cursor_ = 0;
  Lane& lane = *transfers_[transfer_cursor_];
  Transfer& transfer = lane.transfer;
  std::byte* const next = lane.transfer_memory + transfer.done_bytes;
  const uint32_t before = transfer.left_bytes();
  if (transfer.kind == Transfer::Kind::get) {
    if (store_.step_get(transfer, next, kChunkBytes) == 0) {
      const uint32_t value_bytes = transfer.value_bytes;
      store_.end_get(transfer);
      end_transfer(lane, Status::ok, value_bytes, lane.transfer_version);
    }
  } else if (store_.step_put(transfer, next, kChunkBytes) == 0) {
    const StoreAnswer stored = store_.commit_put(transfer);
    if (!stored.retry) end_transfer(lane, stored.status, 0, stored.version);
  }
  count<uint64_t>(block_.transfer_bytes, std::min(before, kChunkBytes));
  ++transfer_cursor_;
  return 1;
}

void Engine::end_transfer(Lane& lane, Status status, uint32_t value_bytes,
                          uint64_t version) noexcept {
  const bool is_get = lane.transfer_placement != Placement::line;
  answer(lane, lane.transfer_ticket, status, is_get ? lane.transfer_placement : Placement::line,
         value_bytes, is_get ? lane.transfer_user_flags : 0, version);
  transfers_[transfer_cursor_] = transfers_[--transfer_count_];
  to_ground(lane);
  wake_client(lane);
}

}  // namespace copykv
