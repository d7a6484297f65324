// SPDX-License-Identifier: Apache-2.0
#include "daemon/store.hpp"

#include <charconv>

#include "base/assert.hpp"
#include "base/planted.hpp"

namespace copykv {

namespace {

constexpr uint64_t kAllocationOverheadBytes =
    sizeof(Item) + sizeof(ItemExtension) + 8 + kKeyBytesMax;

/// The whole value as a decimal; false when it is none.
bool parse_number(const Item& item, int64_t& number) noexcept {
  const auto* from = reinterpret_cast<const char*>(item.value());
  const char* end = from + item.value_bytes;
  const auto [stop, error] = std::from_chars(from, end, number);
  return error == std::errc{} && stop == end;
}

/// Whether the item can take another small value with these traits without moving.
bool fits_in_place(const Item& item, uint32_t value_bytes, uint8_t traits) noexcept {
  if (item.traits != traits || item.large()) return false;
  if (round_up_8(item.value_bytes) == round_up_8(value_bytes)) return true;
  return Arena::rounded_bytes(Item::bytes_of(item.key_bytes, value_bytes, traits)) ==
         Arena::rounded_bytes(item.bytes());
}

}  // namespace

Store::Store(StoreMemory& memory, const StoreOptions& options)
    : arena_(memory.arena(), kAllocationOverheadBytes + options.value_bytes_max + 8),
      map_(memory.index(), arena_),
      memory_(memory),
      value_bytes_max_(options.value_bytes_max),
      next_version_(options.first_version) {}

void Store::drop_if_expired(Found& found) noexcept {
  if (!found.item->expired(now_ms_) || COPYKV_PLANTED(serve_expired)) return;
  ++expired_;
  unlink(found);
  found.item = nullptr;
}

StoreAnswer Store::get_further(const ItemKey& key, const Probe& probe) noexcept {
  const Found found = find_live(key, probe);
  if (!found) return {.status = Status::not_found};
  return answer_of(*found.item);
}

StoreAnswer Store::exists(const ItemKey& key, const Probe& probe) noexcept {
  StoreAnswer answer = get(key, probe);
  answer.value = nullptr;
  return answer;
}

StoreAnswer Store::put(const ItemKey& key, const Probe& probe, const PutRequest& request) noexcept {
  const Found found = find_live(key, probe);
  if (!condition_holds(request.condition, request.if_version, found))
    return condition_failed(found);
  if (COPYKV_PLANTED(forget_write) && next_version_ % 256 == 0) {
    return {.status = Status::ok, .version = next_version_++};
  }
  return write(key, found,
               {request.value, request.value_bytes, request.user_flags, expiry_of(request.ttl_ms)});
}

StoreAnswer Store::del(const ItemKey& key, const Probe& probe) noexcept {
  const Found found = find_live(key, probe);
  if (!found) return {.status = Status::not_found};
  unlink(found);
  return {.status = Status::ok};
}

StoreAnswer Store::add(const ItemKey& key, const Probe& probe, int64_t delta) noexcept {
  const Found found = find_live(key, probe);
  int64_t number = 0;
  if (found && !parse_number(*found.item, number)) {
    return {.status = Status::not_a_number, .version = found.item->version};
  }
  if (__builtin_add_overflow(number, delta, &number)) {
    return {.status = Status::not_a_number, .version = found ? found.item->version : 0};
  }
  alignas(8) char digits[24];
  const char* end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  NewValue sum{digits, static_cast<uint32_t>(end - digits), 0, 0};
  if (found) {
    sum.user_flags = found.item->user_flags();
    sum.expires_at_ms = found.item->expires_at_ms();
  }
  StoreAnswer answer = write(key, found, sum);
  answer.number = number;
  return answer;
}

StoreAnswer Store::touch(const ItemKey& key, const Probe& probe, uint32_t ttl_ms) noexcept {
  const Found found = find_live(key, probe);
  if (!found) return {.status = Status::not_found};
  Item& item = *found.item;
  const uint64_t expires_at_ms = expiry_of(ttl_ms);
  if (!item.extended() && expires_at_ms != 0) {
    // A small item: give it room for an expiry.
    const uint8_t traits = Item::traits_of(key.bytes, item.value_bytes, true);
    const Allocation made = make_item(key, item.value_bytes, traits, 0, expires_at_ms);
    if (made.room != Room::ok) return refuse(made.room);
    copy_padded(item_at(made.offset).value(), item.value(), item.value_bytes);
    return link_or_free(found, key.hash, made.offset, item.version);
  }
  if (item.extended()) {
    map_.begin_change(*found.primary);
    set_expiry(item, expires_at_ms);
    map_.end_change(*found.primary);
  }
  return {.status = Status::ok, .version = item.version};
}

StoreAnswer Store::condition_failed(const Found& found) const noexcept {
  return {.status = Status::condition_failed, .version = found ? found.item->version : 0};
}

StoreAnswer Store::refuse(Room room) noexcept {
  if (room == Room::not_populated_yet) {
    ++retries_;
    return {.status = Status::no_space, .retry = true};
  }
  ++no_space_;
  return {.status = Status::no_space};
}

StoreAnswer Store::refuse(FastMap::Insert inserted) noexcept {
  if (inserted == FastMap::Insert::chain_full) {
    ++chain_full_;
    return {.status = Status::no_space};
  }
  return refuse(inserted == FastMap::Insert::no_space ? Room::no_space : Room::not_populated_yet);
}

/// Stores a small value in the place of `found`, or as a new item.
StoreAnswer Store::write(const ItemKey& key, const Found& found, const NewValue& value) noexcept {
  COPYKV_ASSERT(value.value_bytes <= kInlineValueBytes, "value_bytes={}", value.value_bytes);
  const bool extended = value.user_flags != 0 || value.expires_at_ms != 0;
  const uint8_t traits = Item::traits_of(key.bytes, value.value_bytes, extended);
  if (found && fits_in_place(*found.item, value.value_bytes, traits)) {
    Item& item = *found.item;
    map_.begin_change(*found.primary);
    item.version = next_version_++;
    item.value_bytes = value.value_bytes;
    if (extended) {
      set_expiry(item, value.expires_at_ms);
      item.extension().user_flags = value.user_flags;
    }
    copy_padded(item.value(), value.bytes, value.value_bytes);
    map_.end_change(*found.primary);
    return {.status = Status::ok, .version = item.version};
  }
  const Allocation made =
      make_item(key, value.value_bytes, traits, value.user_flags, value.expires_at_ms);
  if (made.room != Room::ok) return refuse(made.room);
  copy_padded(item_at(made.offset).value(), value.bytes, value.value_bytes);
  return link_or_free(found, key.hash, made.offset, next_version_);
}

void Store::set_expiry(Item& item, uint64_t expires_at_ms) noexcept {
  uint64_t& expiry = item.extension().expires_at_ms;
  expiring_items_ += static_cast<uint64_t>(expires_at_ms != 0) - static_cast<uint64_t>(expiry != 0);
  expiry = expires_at_ms;
}

Allocation Store::make_item(const ItemKey& key, uint32_t value_bytes, uint8_t traits,
                            uint32_t user_flags, uint64_t expires_at_ms) noexcept {
  const Allocation made = arena_.allocate(Item::bytes_of(key.bytes, value_bytes, traits));
  if (made.room != Room::ok) return made;
  Item& item = item_at(made.offset);
  item = {.version = 0,
          .value_bytes = value_bytes,
          .key_bytes = static_cast<uint16_t>(key.bytes),
          .spare = 0,
          .traits = traits};
  if (item.extended()) item.extension() = {expires_at_ms, user_flags, 0};
  item.store_hash(key.hash);
  copy_padded(item.key(), key.data, key.bytes);
  return made;
}

/// Puts a finished item in the place of `found`, or adds it. Anything but ok: it is not linked.
StoreAnswer Store::link(const Found& found, uint64_t hash, Offset offset,
                        uint64_t version) noexcept {
  Item& item = item_at(offset);
  item.version = version;
  if (found) {
    map_.replace(found, offset);
    forget(*found.item);
  } else if (const auto inserted = map_.insert(hash, offset); inserted != FastMap::Insert::ok) {
    return refuse(inserted);
  }
  expiring_items_ += static_cast<uint64_t>(item.expires_at_ms() != 0);
  if (version == next_version_) ++next_version_;
  return {.status = Status::ok, .version = version};
}

StoreAnswer Store::link_or_free(const Found& found, uint64_t hash, Offset offset,
                                uint64_t version) noexcept {
  const StoreAnswer answer = link(found, hash, offset, version);
  if (answer.status != Status::ok) arena_.free(offset);
  return answer;
}

void Store::unlink(const Found& found) noexcept {
  map_.erase(found);
  forget(*found.item);
}

/// An item that the map no longer names: freed now, or by the last transfer that reads it.
void Store::forget(Item& item) noexcept {
  expiring_items_ -= static_cast<uint64_t>(item.expires_at_ms() != 0);
  if (item.extended() && item.extension().pins > 0) {
    item.traits |= Item::kUnlinked;
  } else {
    arena_.free(offset_of(item));
  }
}

StoreCounters Store::counters() const noexcept {
  return {.items = map_.items(),
          .expired = expired_,
          .no_space = no_space_,
          .chain_full = chain_full_,
          .retries = retries_,
          .arena_used_bytes = arena_.used_bytes(),
          .arena_held_bytes = arena_.held_bytes(),
          .index_bytes = map_.index_bytes(),
          .populated_bytes = memory_.populated_bytes(),
          .budget_bytes = memory_.budget_bytes()};
}

}  // namespace copykv
