// SPDX-License-Identifier: Apache-2.0
// Large values: begin, a chunk per step, end. Nothing here takes time proportional to a value.
#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "daemon/store.hpp"

namespace copykv {

StoreAnswer Store::begin_put(Transfer& transfer, const ItemKey& key, const Probe& probe,
                             const PutRequest& request) noexcept {
  COPYKV_ASSERT(transfer.idle());
  if (request.value_bytes > value_bytes_max_) return {.status = Status::value_too_large};
  const Found found = find_live(key, probe);
  if (!condition_holds(request.condition, request.if_version, found))
    return condition_failed(found);

  // Flags or expiry, or else the size, give it the extension that holds the pins.
  const bool extended = request.user_flags != 0 || request.ttl_ms != 0;
  const uint8_t traits = Item::traits_of(key.bytes, request.value_bytes, extended);
  const Allocation made = make_item(key, request.value_bytes, traits, request.user_flags, 0);
  if (made.room != Room::ok) return refuse(made.room);
  transfer = {.kind = Transfer::Kind::put,
              .condition = request.condition,
              .ttl_ms = request.ttl_ms,
              .value_bytes = request.value_bytes,
              .if_version = request.if_version,
              .hash = key.hash,
              .item = made.offset};
  return {.status = Status::ok};
}

uint32_t Store::step_put(Transfer& transfer, const void* shared, uint32_t chunk_bytes) noexcept {
  COPYKV_ASSERT(transfer.kind == Transfer::Kind::put && chunk_bytes % 8 == 0);
  const uint32_t bytes = std::min(chunk_bytes, transfer.left_bytes());
  copy_padded(item_at(transfer.item).value() + transfer.done_bytes, shared, bytes);
  transfer.done_bytes += bytes;
  return transfer.left_bytes();
}

StoreAnswer Store::commit_put(Transfer& transfer) noexcept {
  COPYKV_ASSERT(transfer.kind == Transfer::Kind::put && transfer.left_bytes() == 0);
  Item& item = item_at(transfer.item);
  const ItemKey key{item.key(), item.key_bytes, transfer.hash};
  const Found found = find_live(key, map_.probe(key.hash));
  if (!condition_holds(transfer.condition, transfer.if_version, found)) {
    const StoreAnswer failed = condition_failed(found);
    abort(transfer);
    return failed;
  }
  if (item.extended()) item.extension().expires_at_ms = expiry_of(transfer.ttl_ms);
  const StoreAnswer answer = link(found, key.hash, transfer.item, next_version_);
  if (answer.retry) return answer;
  if (answer.status != Status::ok) {
    abort(transfer);
  } else {
    transfer = {};
  }
  return answer;
}

StoreAnswer Store::begin_get(Transfer& transfer, const ItemKey& key, const Probe& probe) noexcept {
  COPYKV_ASSERT(transfer.idle());
  const Found found = find_live(key, probe);
  if (!found) return {.status = Status::not_found};
  Item& item = *found.item;
  if (item.large()) {
    ++item.extension().pins;
    transfer = {
        .kind = Transfer::Kind::get, .value_bytes = item.value_bytes, .item = offset_of(item)};
  }
  return answer_of(item);
}

uint32_t Store::step_get(Transfer& transfer, void* shared, uint32_t chunk_bytes) noexcept {
  COPYKV_ASSERT(transfer.kind == Transfer::Kind::get && chunk_bytes % 8 == 0);
  const uint32_t bytes = std::min(chunk_bytes, transfer.left_bytes());
  copy_to_shared(shared, item_at(transfer.item).value() + transfer.done_bytes, bytes);
  transfer.done_bytes += bytes;
  return transfer.left_bytes();
}

std::byte* Store::memory_of(const Transfer& transfer) const noexcept {
  COPYKV_ASSERT(!transfer.idle());
  std::byte* value = item_at(transfer.item).value();
  if (transfer.kind == Transfer::Kind::put) {
    // Whoever moves it writes whole bytes only: what pads the last word must not be of an old item.
    const uint64_t zero = 0;
    std::memcpy(value + (round_up_8(transfer.value_bytes) - sizeof(zero)), &zero, sizeof(zero));
  }
  return value;
}

void Store::abort(Transfer& transfer) noexcept {
  if (transfer.kind == Transfer::Kind::put) arena_.free(transfer.item);
  if (transfer.kind == Transfer::Kind::get) {
    Item& item = item_at(transfer.item);
    const bool last = --item.extension().pins == 0;
    if (last && (item.traits & Item::kUnlinked) != 0) arena_.free(transfer.item);
  }
  transfer = {};
}

}  // namespace copykv
