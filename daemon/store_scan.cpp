// SPDX-License-Identifier: Apache-2.0
// Walks over the whole shard, a few buckets per call: key names, and what has expired.
#include <cstring>

#include "daemon/store.hpp"

namespace copykv {

namespace {

constexpr uint32_t kBucketsPerKeysPage = 16;  // about 80 keys: a turn stays short

uint32_t listed_bytes(const Item& item) {
  return sizeof(uint16_t) + uint32_t{item.key_bytes};
}

}  // namespace

KeysPage Store::keys(uint64_t cursor, std::span<std::byte> room) noexcept {
  KeysPage page{.next_cursor = cursor};
  for (uint32_t buckets = 0; buckets < kBucketsPerKeysPage; ++buckets) {
    FastMap::Entry entries[FastMap::kChainEntriesMax];
    uint64_t next = 0;
    const uint32_t count = map_.collect(page.next_cursor, entries, next);
    for (uint32_t first = 0, last; first < count; first = last) {
      // Keys of one hash share a position, so they go together or not at all.
      uint64_t bytes = 0;
      for (last = first; last < count && entries[last].position == entries[first].position;
           ++last) {
        bytes += entries[last].item->expired(now_ms_) ? 0 : listed_bytes(*entries[last].item);
      }
      if (page.bytes + bytes > room.size()) {
        page.next_cursor = entries[first].position;
        if (page.key_count == 0) page.status = Status::buffer_too_small;
        return page;
      }
      for (uint32_t at = first; at < last; ++at) {
        const Item& item = *entries[at].item;
        if (item.expired(now_ms_)) continue;
        std::memcpy(&room[page.bytes], &item.key_bytes, sizeof(uint16_t));
        std::memcpy(&room[page.bytes] + sizeof(uint16_t), item.key(), item.key_bytes);
        page.bytes += listed_bytes(item);
        ++page.key_count;
      }
    }
    page.next_cursor = next;
    if (next == 0) break;
  }
  return page;
}

uint32_t Store::sweep(uint32_t buckets_max) noexcept {
  uint32_t dropped = 0;
  for (uint32_t buckets = 0; buckets < buckets_max && expiring_items_ > 0; ++buckets) {
    if (sweep_bucket_ >= map_.bucket_count()) sweep_bucket_ = 0;
    FastMap::Entry entries[FastMap::kChainEntriesMax];
    const uint32_t count = map_.collect_bucket(sweep_bucket_++, entries);
    for (uint32_t at = 0; at < count; ++at) {
      const Item& item = *entries[at].item;
      if (!item.expired(now_ms_)) continue;
      const ItemKey key{item.key(), item.key_bytes, item.hash()};
      unlink(map_.find(key, map_.probe(key.hash)));
      ++dropped;
    }
  }
  expired_ += dropped;
  return dropped;
}

bool Store::is_valid() const {
  uint64_t items = 0;
  uint64_t expiring = 0;
  for (uint64_t bucket = 0; bucket < map_.bucket_count(); ++bucket) {
    FastMap::Entry entries[FastMap::kChainEntriesMax];
    const uint32_t count = map_.collect_bucket(bucket, entries);
    for (uint32_t at = 0; at < count; ++at) {
      const Item& item = *entries[at].item;
      if ((item.traits & Item::kUnlinked) != 0 || item.version >= next_version_) return false;
      ++items;
      expiring += static_cast<uint64_t>(item.expires_at_ms() != 0);
    }
  }
  return items == map_.items() && expiring == expiring_items_ && map_.is_valid() &&
         arena_.is_valid();
}

}  // namespace copykv
