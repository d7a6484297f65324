// SPDX-License-Identifier: Apache-2.0
// One request: from the checked copy to the answer in the slot's response line.
#include <algorithm>

#include "daemon/engine.hpp"

namespace copykv {
namespace {

// A page of keys is gathered in one turn: its size bounds the turn.
constexpr uint64_t kKeysPageBytesMax = 128 * 1024;

[[nodiscard]] PutRequest put_of(const Pending& p) noexcept {
  return {.value = p.memory,
          .value_bytes = p.value_bytes,
          .user_flags = p.user_flags,
          .ttl_ms = p.ttl_ms,
          .condition = static_cast<Condition>(p.condition),
          .if_version = p.argument};
}

}  // namespace

Engine::Progress Engine::execute(Pending& p) noexcept {
  count<uint64_t>(block_.by_op[p.op & 15], 1);
  if (p.status != Status::ok) [[unlikely]]
    return refuse(p, p.status);
  if (p.key.bytes > 0 && !alone_) {
    const uint32_t owner = owner_of(p.key.hash);
    if (owner != options_.daemon) {
      p.owner = owner;
      return owner < options_.daemon_count ? refuse(p, Status::wrong_owner) : call_remote(p);
    }
  }
  if (p.key.bytes == 0 && p.owner >= options_.daemon_count && !alone_) {
    return call_remote(p);  // keys or ping of another rank
  }
  switch (static_cast<Op>(p.op)) {
    case Op::get:
      return execute_get(p);
    case Op::put:
      return execute_put(p);
    case Op::del:
      return finish(p, store_.del(p.key, p.probe));
    case Op::exists:
      return finish(p, store_.exists(p.key, p.probe));
    case Op::add:
      return finish(p, store_.add(p.key, p.probe, static_cast<int64_t>(p.argument)));
    case Op::touch:
      return finish(p, store_.touch(p.key, p.probe, p.ttl_ms));
    case Op::keys:
      return execute_keys(p);
    case Op::ping:
      return finish(p, {});
  }
  return refuse(p, Status::unsupported);
}

Engine::Progress Engine::execute_get(const Pending& p) noexcept {
  const StoreAnswer found = store_.get(p.key, p.probe);
  Lane& lane = *p.lane;
  Placement placement = Placement::line;
  if (found.value_bytes <= kResponseLineDataBytes) [[likely]] {
    if (found.status == Status::ok) {
      copy_to_shared(p.slot->response.data, found.value, found.value_bytes);
    }
  } else if (found.value_bytes <= kInlineValueBytes) {
    placement = Placement::page;  // a page is never smaller
    copy_to_shared(lane.payload_of(p.slot_index()), found.value, found.value_bytes);
  } else {
    return begin_large_get(p, found);
  }
  answer(lane, p.ticket(), found.status, placement, found.value_bytes, found.user_flags,
         found.version);
  return Progress::answered;
}
static_assert(kInlineValueBytes <= kSlotPayloadBytesMin);

Engine::Progress Engine::execute_put(const Pending& p) noexcept {
  if (p.value_bytes > kInlineValueBytes) return begin_large_put(p);
  return finish(p, store_.put(p.key, p.probe, put_of(p)));
}

Engine::Progress Engine::execute_keys(const Pending& p) noexcept {
  Lane& lane = *p.lane;
  const bool in_bulk = p.placement == static_cast<uint8_t>(Placement::bulk);
  std::byte* const memory = in_bulk ? p.memory : lane.payload_of(p.slot_index());
  const uint64_t room_bytes =
      in_bulk ? std::min(p.room_bytes, kKeysPageBytesMax) : lane.setup.slot_payload_bytes;
  const KeysPage page = store_.keys(p.argument, {memory, room_bytes});
  // What is too small is asked for again with the largest page there is.
  const bool too_small = page.status == Status::buffer_too_small;
  answer(lane, p.ticket(), page.status, in_bulk ? Placement::bulk : Placement::page,
         too_small ? static_cast<uint32_t>(kKeysPageBytesMax) : page.bytes, 0, page.next_cursor);
  return Progress::answered;
}

Engine::Progress Engine::call_remote(const Pending& p) noexcept {
  switch (network_ == nullptr ? Network::Sent::unreachable : network_->call(p)) {
    case Network::Sent::accepted:
      p.lane->remote_slots |= uint64_t{1} << p.slot_index();
      count<uint64_t>(block_.remote_calls, 1);
      if (p.op == static_cast<uint8_t>(Op::put) && p.value_bytes > kInlineValueBytes) {
        // The owner fetches the value while it goes on serving: a get of the same key behind it
        // would overtake it.
        p.lane->moving_slot = uint64_t{1} << p.slot_index();
        p.lane->place = Lane::Place::full;
        dropped_ = true;
        return Progress::busy;
      }
      return Progress::answered;
    case Network::Sent::full:
      return Progress::again;
    case Network::Sent::unreachable:
      break;
  }
  return refuse(p, Status::unreachable);
}

Engine::Progress Engine::finish(const Pending& p, const StoreAnswer& with) noexcept {
  if (with.retry) [[unlikely]]
    return Progress::again;
  if (p.op == static_cast<uint8_t>(Op::add)) {
    poke(p.slot->response.data[0], static_cast<uint64_t>(with.number));
  }
  answer(*p.lane, p.ticket(), with.status, Placement::line, with.value_bytes, with.user_flags,
         with.version);
  return Progress::answered;
}

Engine::Progress Engine::refuse(const Pending& p, Status status) noexcept {
  answer(*p.lane, p.ticket(), status, Placement::line, 0, 0, 0);
  return Progress::answered;
}

}  // namespace copykv
