// SPDX-License-Identifier: Apache-2.0
// Requests of other ranks: served in groups like those of the ground queue, answered through the
// network. Large values are moved by the network, straight between the arena and the memory of the
// client on the other rank.
#include <array>

#include "base/assert.hpp"
#include "daemon/engine.hpp"

namespace copykv {
namespace {

constexpr uint32_t kMovedPerTurn = 8;

}  // namespace

uint32_t Engine::serve_inbound() noexcept {
  const uint32_t count = network_->take_requests(inbound_);
  for (uint32_t index = 0; index < count; ++index) {
    store_.locate(inbound_[index].probe, inbound_[index].key.hash);
  }
  for (uint32_t index = 0; index < count; ++index) {
    store_.look(inbound_[index].probe, inbound_[index].key.hash);
  }
  // Plain requests are answered together; but before a write, which could change a value that is
  // still to be sent.
  uint32_t index = 0;
  uint32_t told = 0;  // requests before this one are answered
  bool values_wait = false;
  const auto tell = [&] {
    if (told < index) network_->reply_plain({&inbound_[told], index - told});
    told = index;
    values_wait = false;
  };
  for (; index < count; ++index) {
    RemoteRequest& request = inbound_[index];
    if (request.path == Path::plain_get && get_plain_inbound(request)) {
      values_wait = true;
      continue;
    }
    if (values_wait) tell();
    if (request.path == Path::plain_put && put_plain_inbound(request)) continue;
    tell();
    if (!execute_inbound(request)) {
      network_->put_back(index);
      copykv::count<uint64_t>(block_.deferred, 1);
      break;
    }
    told = index + 1;
  }
  tell();
  copykv::count<uint64_t>(block_.inbound_requests, index);
  return index;
}

/// The value of a plain item, if the answer can carry it; false: nothing was done.
inline bool Engine::get_plain_inbound(RemoteRequest& request) const noexcept {
  const Item* item = store_.find_plain(request.key, request.probe);
  if (item == nullptr || item->value_bytes > request.answer_value_bytes_max ||
      owner_of(request.key.hash) != options_.daemon) {
    return false;
  }
  request.value_bytes = item->value_bytes;
  request.value = item->at(sizeof(Item) + round_up_8(request.key.bytes));
  request.version = item->version;
  return true;
}

/// A put over a plain item of the same size; false: nothing was done.
inline bool Engine::put_plain_inbound(RemoteRequest& request) noexcept {
  if (owner_of(request.key.hash) != options_.daemon) return false;
  const uint64_t version =
      store_.overwrite_plain(request.key, request.probe, request.value, request.value_bytes);
  if (version == 0) return false;
  request.value_bytes = 0;
  request.version = version;
  return true;
}

/// False: nothing was done, the request must come again.
bool Engine::execute_inbound(RemoteRequest& request) noexcept {
  if (request.path != Path::general) request.widen();
  if (request.key.bytes > 0 && owner_of(request.key.hash) != options_.daemon) {
    return reply_inbound(request, {.status = Status::wrong_owner});
  }
  switch (request.op) {
    case Op::get:
      return get_inbound(request);
    case Op::put:
      return put_inbound(request);
    case Op::keys:
      return keys_inbound(request);
    case Op::del:
      return reply_inbound(request, store_.del(request.key, request.probe));
    case Op::exists:
      return reply_inbound(request, store_.exists(request.key, request.probe));
    case Op::add:
      return add_inbound(request);
    case Op::touch:
      return reply_inbound(request, store_.touch(request.key, request.probe, request.ttl_ms));
    case Op::ping:
      return reply_inbound(request, {});
  }
  return reply_inbound(request, {.status = Status::unsupported});
}

bool Engine::reply_inbound(const RemoteRequest& request, const StoreAnswer& answer) noexcept {
  if (answer.retry) return false;
  network_->reply(request, answer, 0);
  return true;
}

bool Engine::add_inbound(const RemoteRequest& request) noexcept {
  StoreAnswer answer =
      store_.add(request.key, request.probe, static_cast<int64_t>(request.argument));
  if (answer.retry) return false;
  answer.value = reinterpret_cast<const std::byte*>(&answer.number);
  network_->reply(request, answer, sizeof(answer.number));
  return true;
}

bool Engine::get_inbound(RemoteRequest& request) noexcept {
  StoreAnswer found = store_.get(request.key, request.probe);
  const uint32_t bytes = found.value_bytes;
  if (found.status != Status::ok) return reply_inbound(request, found);
  if (bytes <= std::min(request.answer_value_bytes_max, kInlineValueBytes)) {
    network_->reply(request, found, bytes);
    return true;
  }
  if (bytes <= kInlineValueBytes || bytes > request.room_bytes) {
    found.status = Status::buffer_too_small;
    return reply_inbound(request, found);
  }
  const uint32_t move = free_move();
  if (move == kMovesMax) return false;
  moves_[move].answer = store_.begin_get(moves_[move].transfer, request.key, request.probe);
  return start_move(request, move);
}

bool Engine::put_inbound(RemoteRequest& request) noexcept {
  PutRequest put{.value = request.value,
                 .value_bytes = request.value_bytes,
                 .user_flags = request.user_flags,
                 .ttl_ms = request.ttl_ms,
                 .condition = request.condition,
                 .if_version = request.argument};
  if (request.value != nullptr || request.value_bytes == 0) {
    return reply_inbound(request, store_.put(request.key, request.probe, put));
  }
  const uint32_t move = free_move();
  if (move == kMovesMax) return false;
  const StoreAnswer begun =
      store_.begin_put(moves_[move].transfer, request.key, request.probe, put);
  if (moves_[move].transfer.idle()) return reply_inbound(request, begun);
  return start_move(request, move);
}

bool Engine::keys_inbound(const RemoteRequest& request) noexcept {
  alignas(8) std::array<std::byte, kInlineValueBytes> names;
  const uint32_t room = std::min(request.answer_value_bytes_max, kInlineValueBytes);
  const KeysPage page = store_.keys(request.argument, {names.data(), room});
  StoreAnswer answer{.status = page.status,
                     .value_bytes = page.status == Status::ok ? page.bytes : kInlineValueBytes,
                     .version = page.next_cursor,
                     .value = names.data()};
  network_->reply(request, answer, page.status == Status::ok ? page.bytes : 0);
  return true;
}

/// The index of an idle move, or kMovesMax.
uint32_t Engine::free_move() const noexcept {
  uint32_t move = 0;
  while (move < kMovesMax && !moves_[move].transfer.idle()) ++move;
  return move;
}

bool Engine::start_move(const RemoteRequest& request, uint32_t move) noexcept {
  Transfer& transfer = moves_[move].transfer;
  COPYKV_ASSERT(!transfer.idle(), "move={}", move);
  if (!network_->move(request, move, store_.memory_of(transfer), transfer.value_bytes)) {
    store_.abort(transfer);
    return false;
  }
  ++moves_out_;
  count<uint64_t>(block_.transfers, 1);
  return true;
}

/// Moves that have ended: a get's item is unpinned, a put's item becomes visible.
uint32_t Engine::end_moves() noexcept {
  std::array<MoveEnd, kMovedPerTurn> ends;
  const uint32_t count = network_->take_moved(ends);
  moves_out_ -= count;
  for (uint32_t index = 0; index < count; ++index) {
    Move& move = moves_[ends[index].move];
    if (!ends[index].ok) {
      // The session with the caller is over: nobody waits for an answer, and the network has told
      // that nothing touches the memory any more.
      store_.abort(move.transfer);
      continue;
    }
    copykv::count<uint64_t>(block_.transfer_bytes, move.transfer.value_bytes);
    if (move.transfer.kind == Transfer::Kind::get) {
      store_.end_get(move.transfer);
      network_->reply_moved(ends[index].move, move.answer);
    } else {
      store_.set_moved(move.transfer);
      commit_due_[commit_count_++] = ends[index].move;
    }
  }
  for (uint32_t at = 0; at < commit_count_;) {
    const uint32_t which = commit_due_[at];
    const StoreAnswer stored = store_.commit_put(moves_[which].transfer);
    if (stored.retry) {
      ++at;
      continue;
    }
    commit_due_[at] = commit_due_[--commit_count_];
    network_->reply_moved(which, stored);
  }
  return count;
}

}  // namespace copykv
