// SPDX-License-Identifier: Apache-2.0
#include "shm/fast_map.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"

namespace copykv {

namespace {

// A split follows when there are more than 24/5 = 4.8 items per bucket of 7: fewer cost memory
// (13.3 B of primary buckets per item), more put too many keys into overflow buckets
// (docs/adr/0002).
constexpr uint64_t kItemsPerBucketTimes5 = 24;

constexpr uint64_t reverse_bits(uint64_t bits) noexcept {
  bits = (bits >> 1 & 0x5555555555555555) | (bits & 0x5555555555555555) << 1;
  bits = (bits >> 2 & 0x3333333333333333) | (bits & 0x3333333333333333) << 2;
  bits = (bits >> 4 & 0x0f0f0f0f0f0f0f0f) | (bits & 0x0f0f0f0f0f0f0f0f) << 4;
  return __builtin_bswap64(bits);
}
static_assert(reverse_bits(1) == uint64_t{1} << 63 && reverse_bits(0xf0) == uint64_t{0xf} << 56);

}  // namespace

FastMap::FastMap(Region& index, Arena& arena, const FastMapOptions& options)
    : buckets_(reinterpret_cast<Bucket*>(index.base)),
      arena_base_(arena.at(0)),
      wide_mask_((uint64_t{2} << options.first_level) - 1),
      bucket_count_(uint64_t{1} << options.first_level),
      level_(options.first_level),
      index_(index),
      arena_(arena) {
  COPYKV_ASSERT(index.virtual_bytes <= uint64_t{1} << (kReferenceBits + 3));
  populated_buckets_ = observe(index_.populated_bytes) / sizeof(Bucket);
  COPYKV_ASSERT(bucket_count_ <= populated_buckets_, "{} buckets, {} populated", bucket_count_,
                populated_buckets_);
  poke(index_.wanted_bytes, index_bytes());
}

/// From the beginning, over every match of the whole chain.
Found FastMap::find_further(const ItemKey& key) const noexcept {
  const uint16_t tag = tag_of(key.hash);
  Bucket& primary = bucket(bucket_index(key.hash));
  Bucket* in = &primary;
  for (uint32_t chain_buckets = 1;; ++chain_buckets) {
    for (uint32_t matches = in->match(tag); matches != 0; matches &= matches - 1) {
      Item* item = item_at(*in, matches);
      if (const std::byte* value = item->value_of(key); value != nullptr) {
        return {item, value, &primary, in, static_cast<uint32_t>(__builtin_ctz(matches))};
      }
    }
    if (in->overflow == 0 || chain_buckets == kChainBucketsMax) break;
    in = &overflow(in->overflow);
  }
  return {nullptr, nullptr, &primary, nullptr, 0};
}

FastMap::Insert FastMap::insert(uint64_t hash, Offset item) noexcept {
  Bucket& primary = bucket(bucket_index(hash));
  Bucket* last = &primary;
  uint32_t chain_buckets = 1;
  for (; last->overflow != 0; ++chain_buckets) last = &overflow(last->overflow);
  const uint32_t slot = last->entries();
  if (slot < Bucket::kSlots) {
    begin_change(primary);
    last->set(slot, tag_of(hash), reference_to(item, hash));
    end_change(primary);
  } else {
    if (chain_buckets == kChainBucketsMax) return Insert::chain_full;
    const Insert appended = append_bucket(primary, *last, hash, item);
    if (appended != Insert::ok) return appended;
    counters_.chain_buckets_max =
        std::max<uint64_t>(counters_.chain_buckets_max, chain_buckets + 1);
  }
  ++items_;
  ++mutations_;
  if (items_ * 5 > bucket_count_ * kItemsPerBucketTimes5) {
    if (index_has_room()) {
      split_one();
    } else {
      ++counters_.splits_put_off;
    }
  }
  return Insert::ok;
}

FastMap::Insert FastMap::append_bucket(Bucket& primary, Bucket& last, uint64_t hash,
                                       Offset item) noexcept {
  const Allocation made = arena_.allocate(sizeof(Bucket));
  if (made.room != Room::ok) {
    return made.room == Room::no_space ? Insert::no_space : Insert::not_populated_yet;
  }
  const auto link = static_cast<uint32_t>(made.offset / sizeof(Bucket));
  Bucket& added = overflow(link);
  begin_change(primary);
  std::memset(static_cast<void*>(&added), 0, sizeof(Bucket));
  added.set(0, tag_of(hash), reference_to(item, hash));
  last.overflow = link;
  end_change(primary);
  ++counters_.overflow_buckets;
  return Insert::ok;
}

void FastMap::replace(const Found& found, Offset item) noexcept {
  const uint64_t hints = found.bucket->reference(found.match_bit) >> kReferenceBits;
  const uint32_t slot = found.match_bit / 2;
  begin_change(*found.primary);
  found.bucket->set(slot, found.bucket->tags[slot], item >> 3 | hints << kReferenceBits);
  end_change(*found.primary);
  ++mutations_;
}

void FastMap::erase(const Found& found) noexcept {
  Bucket* before = nullptr;
  Bucket* last = found.primary;
  for (; last->overflow != 0; last = &overflow(last->overflow)) before = last;
  const uint32_t tail = last->entries() - 1;
  const uint32_t hole = found.match_bit / 2;

  begin_change(*found.primary);
  found.bucket->set(hole, last->tags[tail], last->reference(2 * tail));
  last->set(tail, 0, 0);
  uint32_t emptied = 0;
  if (tail == 0 && before != nullptr) emptied = std::exchange(before->overflow, 0);
  end_change(*found.primary);

  if (emptied != 0) {
    arena_.free(uint64_t{emptied} * sizeof(Bucket));
    --counters_.overflow_buckets;
  }
  --items_;
  ++mutations_;
}

bool FastMap::index_has_room() noexcept {
  if (bucket_count_ < populated_buckets_) return true;
  populated_buckets_ = observe(index_.populated_bytes) / sizeof(Bucket);  // [F]
  return bucket_count_ < populated_buckets_;
}

/// The entries of a chain, parted between the bucket that they are in and the new one.
struct FastMap::Parting {
  uint64_t staying[kChainEntriesMax];
  uint64_t rising[kChainEntriesMax];
  uint32_t staying_count = 0;
  uint32_t rising_count = 0;
  uint32_t spare[kChainBucketsMax];  ///< the overflow buckets of the chain, to be used again
  uint32_t spare_count = 0;
  uint32_t spare_used = 0;
};

template <class GoesUp>
void FastMap::part(const Bucket& low, Parting& parting, GoesUp&& goes_up) const noexcept {
  uint32_t staying = 0;
  uint32_t rising = 0;
  for (const Bucket* from = &low;; from = &overflow(from->overflow)) {
    const uint32_t entries = from->entries();
    for (uint32_t slot = 0; slot < entries; ++slot) {
      const uint64_t entry = from->packed(slot);
      // To both, counted in one: no branch that would be mispredicted half of the time.
      parting.staying[staying] = entry;
      parting.rising[rising] = entry;
      const uint32_t up = goes_up(entry);
      rising += up;
      staying += 1 - up;
    }
    if (from->overflow == 0) break;
    parting.spare[parting.spare_count++] = from->overflow;
  }
  parting.staying_count = staying;
  parting.rising_count = rising;
}

/// Makes the chain of `primary` hold exactly `entries`, in buckets that the old chain had.
void FastMap::place(Bucket& primary, std::span<const uint64_t> entries, Parting& parting) noexcept {
  Bucket* into = &primary;
  while (entries.size() > Bucket::kSlots) {
    into->set_all(entries.data(), Bucket::kSlots);
    entries = entries.subspan(Bucket::kSlots);
    into->overflow = parting.spare[parting.spare_used++];
    into = &overflow(into->overflow);
  }
  into->set_all(entries.data(), static_cast<uint32_t>(entries.size()));
  into->overflow = 0;
}

void FastMap::split_one() noexcept {
  Bucket& low = bucket(bucket_count_ - (uint64_t{1} << level_));
  Bucket& high = bucket(bucket_count_);
  Parting parting;
  const uint64_t hint = level_ - kHintedLevelFirst;  // wraps below the first: not < kHintedLevels
  if (hint < kHintedLevels) [[likely]] {
    const uint64_t shift = 16 + kReferenceBits + hint;
    part(low, parting, [=](uint64_t entry) { return static_cast<uint32_t>(entry >> shift & 1); });
  } else {
    part(low, parting, [this](uint64_t entry) {
      const auto* item = reinterpret_cast<const Item*>(arena_base_ + (entry >> 13 & kOffsetMask));
      return static_cast<uint32_t>(item->hash() >> level_ & 1);
    });
    counters_.keys_rehashed += parting.staying_count + parting.rising_count;
  }
  begin_change(low);
  begin_change(high);
  // ceil(a / 7) + ceil(b / 7) <= ceil((a + b) / 7) + 1: the old chain and the new bucket suffice.
  place(low, {parting.staying, parting.staying_count}, parting);
  place(high, {parting.rising, parting.rising_count}, parting);
  if (++bucket_count_ > wide_mask_) {
    wide_mask_ = 2 * wide_mask_ + 1;
    ++level_;
  }
  end_change(low);
  end_change(high);
  ++mutations_;
  for (; parting.spare_used < parting.spare_count; ++parting.spare_used) {
    arena_.free(uint64_t{parting.spare[parting.spare_used]} * sizeof(Bucket));
    --counters_.overflow_buckets;
  }
  poke(index_.wanted_bytes, index_bytes());  // [E]
  ++counters_.splits;
  counters_.entries_moved_max =
      std::max<uint64_t>(counters_.entries_moved_max, parting.staying_count + parting.rising_count);
  // The next split will find its bucket in the cache.
  prefetch_for_write(&bucket(bucket_count_ - (uint64_t{1} << level_)));
}

uint32_t FastMap::collect_bucket(uint64_t index,
                                 std::span<Entry, kChainEntriesMax> entries) const noexcept {
  uint32_t count = 0;
  for (const Bucket* from = &bucket(index);; from = &overflow(from->overflow)) {
    const uint32_t here = from->entries();
    for (uint32_t slot = 0; slot < here; ++slot) {
      Item* item = item_at(*from, 1U << (2 * slot));
      prefetch(item);
      entries[count++] = {0, item};
    }
    if (from->overflow == 0) return count;
  }
}

uint32_t FastMap::collect(uint64_t cursor, std::span<Entry, kChainEntriesMax> entries,
                          uint64_t& next) const noexcept {
  const uint64_t index = bucket_index(reverse_bits(cursor));
  const uint64_t split_next = bucket_count_ - (uint64_t{1} << level_);
  const bool narrow = index >= split_next && index < uint64_t{1} << level_;
  const uint64_t bits = narrow ? level_ : level_ + 1;
  next = reverse_bits(index) + (uint64_t{1} << (64 - bits));  // 0 after the last

  const uint32_t found = collect_bucket(index, entries);
  uint32_t kept = 0;
  for (uint32_t at = 0; at < found; ++at) {
    const Entry entry{reverse_bits(entries[at].item->hash()), entries[at].item};
    if (entry.position < cursor) continue;
    uint32_t place_at = kept++;  // insertion sort: a handful of entries
    for (; place_at > 0 && entries[place_at - 1].position > entry.position; --place_at) {
      entries[place_at] = entries[place_at - 1];
    }
    entries[place_at] = entry;
  }
  return kept;
}

bool FastMap::chain_is_valid(uint64_t index, uint64_t& items, uint64_t& overflows) const {
  uint32_t chain_buckets = 1;
  for (const Bucket* at = &bucket(index);; at = &overflow(at->overflow), ++chain_buckets) {
    if (chain_buckets > kChainBucketsMax || (at == &bucket(index) && at->version % 2 != 0)) {
      return false;
    }
    const uint32_t entries = at->entries();
    for (uint32_t slot = 0; slot < Bucket::kSlots; ++slot) {
      if ((at->tags[slot] != 0) != (slot < entries)) return false;
      if (slot >= entries) continue;
      const Item* item = item_at(*at, 1U << (2 * slot));
      const uint64_t hash = item->hash();
      const Offset offset = static_cast<uint64_t>(item->at(0) - arena_base_);
      const uint64_t reference = reference_to(offset, hash) & ((uint64_t{1} << 48) - 1);
      if (bucket_index(hash) != index || tag_of(hash) != at->tags[slot]) return false;
      if (at->reference(2 * slot) != reference) return false;
    }
    items += entries;
    if (at->overflow == 0) return chain_buckets == 1 || entries > 0;
    if (entries != Bucket::kSlots) return false;
    ++overflows;
  }
}

bool FastMap::is_valid() const {
  const uint64_t base = uint64_t{1} << level_;
  if (bucket_count_ < base || bucket_count_ >= 2 * base || wide_mask_ != 2 * base - 1) return false;
  uint64_t items = 0;
  uint64_t overflows = 0;
  for (uint64_t index = 0; index < bucket_count_; ++index) {
    if (!chain_is_valid(index, items, overflows)) return false;
  }
  return items == items_ && overflows == counters_.overflow_buckets;
}

}  // namespace copykv
