// SPDX-License-Identifier: Apache-2.0
// The index of a shard: linear hashing (Litwin 1980) over 64-byte buckets. Bucket b stands at
// index base + 64 b; overflow buckets are 64-byte objects of the arena.
//
// BUCKET (pinned by static_asserts below)
//    0  version       u32      of a primary: odd while anything in its chain changes
//    4  overflow      u32      next bucket of the chain: arena offset / 64; 0: none
//    8  tags          7 x u16  0: empty, else 0x8000 + hash bits 36..50
//   22  references    7 x u48  bits 0-34 item offset / 8, bits 35-47 hash bits 12..24
// A lookup compares the tags with one vector instruction and touches only items whose tag matches.
// The hash bits in the references decide splits of 2^12 to 2^25 buckets without touching any item;
// outside of that range a split hashes the keys again.
//
// HASH BITS   0..35 bucket, 36..50 tag, 52..63 partition (the same for all keys of a partition).
//
// INVARIANTS
//   I1  bucket_count = 2^level + split_next; bucket of h: low level+1 bits if that is <
//   bucket_count,
//       else low level bits.
//   I2  the entries of a chain are dense: every bucket but the last is full, empty slots come last.
//   I3  no chain is longer than kChainBucketsMax; an insert beyond that is refused.
//   I4  the version of a primary is odd exactly while its chain or an item in it changes, so a
//       reader that maps the memory read-only can tell a torn read.
//   I5  an insert splits at most one bucket; a split moves at most kChainEntriesMax entries and
//       never needs memory but the new bucket.
// THREADS     One writer, which owns this object. Nothing is allocated after construction.
// PROVED BY   tests/unit/shm/fast_map_test.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/atomics.hpp"
#include "shm/arena.hpp"
#include "shm/item.hpp"
#include "shm/region.hpp"

namespace copykv {

struct alignas(kCacheLineBytes) Bucket {
  static constexpr uint32_t kSlots = 7;

  uint32_t version;
  uint32_t overflow;
  uint16_t tags[kSlots];
  unsigned char references[6 * kSlots];

  /// Bits 0, 2, 4, ...: the slots whose tag is `tag`.
  [[nodiscard]] uint32_t match(uint16_t tag) const noexcept {
#if defined(__SSE2__)
    // 16 bytes from the tags on: seven tags and two bytes of the references, masked away.
    const auto line = _mm_loadu_si128(reinterpret_cast<const __m128i*>(tags_address()));
    const auto equal = _mm_cmpeq_epi16(line, _mm_set1_epi16(static_cast<short>(tag)));
    return static_cast<uint32_t>(_mm_movemask_epi8(equal)) & 0x1555U;
#else
    uint32_t matches = 0;
    for (uint32_t slot = 0; slot < kSlots; ++slot) {
      matches |= static_cast<uint32_t>(tags[slot] == tag) << (2 * slot);
    }
    return matches;
#endif
  }
  /// `match_bit`: twice the slot. Reads 8 bytes that end with the reference: never past the line.
  [[nodiscard]] uint64_t reference(uint32_t match_bit) const noexcept {
    uint64_t word;
    std::memcpy(&word, reinterpret_cast<const unsigned char*>(this) + 20 + 3 * match_bit, 8);
    return word >> 16;
  }
  void set(uint32_t slot, uint16_t tag, uint64_t reference) noexcept {
    tags[slot] = tag;
    std::memcpy(&references[6 * slot], &reference, 6);
  }
  /// An entry in one word: the reference in the upper 48 bits, the tag in the lower 16.
  [[nodiscard]] uint64_t packed(uint32_t slot) const noexcept {
    return (reference(2 * slot) << 16) | tags[slot];
  }
  /// Makes the first `count` slots hold the packed entries and the rest empty.
  void set_all(const uint64_t* entries, uint32_t count) noexcept {
    // Downwards, 8 bytes for 6: each store repairs the two bytes that the one before it spoilt,
    // and the tags repair the last.
    auto* bytes = reinterpret_cast<unsigned char*>(this);
    for (uint32_t slot = count; slot-- > 0;) std::memcpy(bytes + 20 + 6 * slot, &entries[slot], 8);
    uint32_t slot = 0;
    for (; slot < count; ++slot) tags[slot] = static_cast<uint16_t>(entries[slot]);
    for (; slot < kSlots; ++slot) tags[slot] = 0;
  }
  [[nodiscard]] uint32_t entries() const noexcept {
    return static_cast<uint32_t>(__builtin_ctz(match(0) | 1U << (2 * kSlots))) / 2;
  }

 private:
  [[nodiscard]] const void* tags_address() const noexcept {
    return tags;
  }
};
static_assert(sizeof(Bucket) == kCacheLineBytes && offsetof(Bucket, tags) == 8 &&
              offsetof(Bucket, references) == 22);

/// A lookup on its way: first the bucket, then the item that is probably meant. It is good for one
/// value of FastMap::mutations(); find() starts again when the map has changed since.
struct Probe {
  uint64_t mutations = 0;
  Bucket* bucket = nullptr;
  Item* item = nullptr;  ///< of the first slot whose tag matches; nullptr: none in this bucket
  uint32_t matches = 0;
};

/// Where a key stands. item == nullptr: it does not.
struct Found {
  Item* item = nullptr;
  const std::byte* value = nullptr;
  Bucket* primary = nullptr;
  Bucket* bucket = nullptr;
  uint32_t match_bit = 0;

  [[nodiscard]] explicit operator bool() const noexcept { return item != nullptr; }
};

struct FastMapOptions {
  /// The map starts with 2^first_level buckets. Below 12 splits hash keys again: for tests.
  uint32_t first_level = 12;
};

/// Counted work, for the proof that growth comes in bounded steps.
struct FastMapCounters {
  uint64_t splits = 0;
  uint64_t splits_put_off = 0;     ///< wanted, but the index region had no room (yet)
  uint64_t entries_moved_max = 0;  ///< entries gathered and placed again by one split
  uint64_t keys_rehashed = 0;      ///< by splits outside the levels that references decide
  uint64_t overflow_buckets = 0;   ///< now
  uint64_t chain_buckets_max = 0;  ///< longest chain ever made
};

class FastMap {
 public:
  static constexpr uint32_t kChainBucketsMax = 8;
  static constexpr uint32_t kChainEntriesMax = kChainBucketsMax * Bucket::kSlots;
  static constexpr uint32_t kHintedLevelFirst = 12;
  static constexpr uint32_t kHintedLevels = 13;

  /// `index` must be populated for the first 2^first_level buckets and zero-filled.
  FastMap(Region& index, Arena& arena, const FastMapOptions& options = {});

  /// Step 1 of a lookup: prefetches the bucket.
  void locate(Probe& probe, uint64_t hash) const noexcept {
    probe.mutations = mutations_;
    probe.bucket = &bucket(bucket_index(hash));
    prefetch(probe.bucket);
  }
  /// Step 2: compares the tags and prefetches what comes next, an item or the overflow bucket.
  /// Nothing has mutated since locate.
  void look(Probe& probe, uint64_t hash) const noexcept {
    probe.matches = probe.bucket->match(tag_of(hash));
    probe.item = nullptr;
    if (probe.matches != 0) [[likely]] {
      probe.item = item_at(*probe.bucket, probe.matches);
      prefetch(probe.item);
      prefetch(probe.item->at(31));  // most items of 32 B and more stand in two lines
    } else if (probe.bucket->overflow != 0) {
      prefetch(&overflow(probe.bucket->overflow));
    }
  }
  [[nodiscard]] Probe probe(uint64_t hash) const noexcept {
    Probe probe{mutations_, &bucket(bucket_index(hash)), nullptr, 0};
    look(probe, hash);
    return probe;
  }

  /// Step 3: `probe` must be of key.hash.
  [[nodiscard]] Found find(const ItemKey& key, const Probe& probe) const noexcept {
    if (probe.mutations == mutations_ && probe.item != nullptr) [[likely]] {
      if (const std::byte* value = probe.item->value_of(key); value != nullptr) [[likely]] {
        const auto match_bit = static_cast<uint32_t>(__builtin_ctz(probe.matches));
        return {probe.item, value, probe.bucket, probe.bucket, match_bit};
      }
    }
    return find_further(key);
  }

  enum class Insert : uint8_t { ok, no_space, not_populated_yet, chain_full };
  /// Adds an item whose key is not in the map. Anything but ok: nothing has changed.
  [[nodiscard]] Insert insert(uint64_t hash, Offset item) noexcept;
  /// The same key, another item. `found` must be current (nothing mutated since find).
  void replace(const Found& found, Offset item) noexcept;
  void erase(const Found& found) noexcept;

  /// Brackets a change of an item that is in the map (I4).
  void begin_change(Bucket& primary) noexcept {
    poke(primary.version, primary.version + 1);
    store_fence();
  }
  void end_change(Bucket& primary) noexcept { publish(primary.version, primary.version + 1); }

  /// Grows with every change of the map's structure; a Probe is good for one value of it.
  [[nodiscard]] uint64_t mutations() const noexcept { return mutations_; }
  [[nodiscard]] uint64_t items() const noexcept { return items_; }
  [[nodiscard]] uint64_t bucket_count() const noexcept { return bucket_count_; }
  [[nodiscard]] uint64_t index_bytes() const noexcept { return bucket_count_ * sizeof(Bucket); }
  [[nodiscard]] const FastMapCounters& counters() const noexcept { return counters_; }

  // ---- enumeration

  /// One item of a bucket chain.
  struct Entry {
    uint64_t position;  ///< bit-reversed hash
    Item* item;
  };
  /// The items at `cursor` or after it in the bucket chain that covers it, by ascending position.
  /// `next`: where the following bucket begins, 0 after the last. Positions do not depend on the
  /// number of buckets, so an enumeration survives growth.
  [[nodiscard]] uint32_t collect(uint64_t cursor, std::span<Entry, kChainEntriesMax> entries,
                                 uint64_t& next) const noexcept;
  /// All items of the chain of bucket `index`, in any order (position is not filled in).
  [[nodiscard]] uint32_t collect_bucket(uint64_t index,
                                        std::span<Entry, kChainEntriesMax> entries) const noexcept;

  /// For tests: I1 to I5. Time proportional to the map.
  [[nodiscard]] bool is_valid() const;

 private:
  static constexpr uint32_t kReferenceBits = 35;
  static constexpr uint64_t kOffsetMask = ((uint64_t{1} << kReferenceBits) - 1) << 3;

  [[nodiscard]] static uint16_t tag_of(uint64_t hash) noexcept {
    return static_cast<uint16_t>((hash >> 36) | 0x8000U);
  }
  [[nodiscard]] static uint64_t reference_to(Offset item, uint64_t hash) noexcept {
    return item >> 3 | (hash >> kHintedLevelFirst) << kReferenceBits;  // the store cuts at 48 bits
  }
  /// The item of the lowest match.
  [[nodiscard]] Item* item_at(const Bucket& in, uint32_t matches) const noexcept {
    const auto match_bit = static_cast<uint32_t>(__builtin_ctz(matches));
    const uint64_t offset = in.reference(match_bit) << 3 & kOffsetMask;
    return reinterpret_cast<Item*>(arena_base_ + offset);
  }
  [[nodiscard]] uint64_t bucket_index(uint64_t hash) const noexcept {
    const uint64_t index = hash & wide_mask_;
    return index < bucket_count_ ? index : hash & (wide_mask_ >> 1);
  }
  [[nodiscard]] Bucket& bucket(uint64_t index) const noexcept { return buckets_[index]; }
  [[nodiscard]] Bucket& overflow(uint32_t link) const noexcept {
    return *reinterpret_cast<Bucket*>(arena_base_ + uint64_t{link} * sizeof(Bucket));
  }
  [[nodiscard]] Found find_further(const ItemKey& key) const noexcept;
  [[nodiscard]] Insert append_bucket(Bucket& primary, Bucket& last, uint64_t hash,
                                     Offset item) noexcept;
  [[nodiscard]] bool index_has_room() noexcept;
  void split_one() noexcept;
  struct Parting;
  template <class GoesUp>
  void part(const Bucket& low, Parting& parting, GoesUp&& goes_up) const noexcept;
  void place(Bucket& primary, std::span<const uint64_t> entries, Parting& parting) noexcept;
  [[nodiscard]] bool chain_is_valid(uint64_t index, uint64_t& items, uint64_t& overflows) const;

  // What a lookup reads, in one line.
  Bucket* buckets_;
  std::byte* arena_base_;
  uint64_t wide_mask_;  ///< 2^(level+1) - 1
  uint64_t bucket_count_;
  uint64_t mutations_ = 0;

  uint64_t items_ = 0;
  uint64_t level_;
  uint64_t populated_buckets_ = 0;  ///< what the region said when last asked
  Region& index_;
  Arena& arena_;
  FastMapCounters counters_;
};

}  // namespace copykv
