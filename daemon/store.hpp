// SPDX-License-Identifier: Apache-2.0
// One shard: applies operations to the keys that one daemon thread owns.
//
//   store.begin_turn(now_ms);                      // once per turn
//   store.locate(probe, key.hash);                 // a group: first all buckets,
//   store.look(probe, key.hash);                   // then all candidate items,
//   StoreAnswer answer = store.get(key, probe);    // then each operation
//
// THREADS     Owned by one daemon thread. Every call is bounded, allocates nothing and makes no
//   system call; the control thread populates memory beside it (shm/store_memory.hpp).
// TRUST       Keys stand in private memory. Values are opaque and are read from shared memory
//   exactly once. Lengths were checked against the limits by the caller.
// VERSIONS    One counter per shard: a key's version grows also across delete and put.
// EXPIRY      An item is gone when now_ms >= its expiry, for every operation and condition.
// LARGE       Values of more than kInlineValueBytes move in chunks through a Transfer
//   (daemon/transfer.hpp); put and get of smaller ones are done at once.
// ANSWERS     answer.retry: memory is still being populated; nothing has changed, call again in a
//   later turn. `value` points into the arena and is valid until the next call on the Store.
// PROVED BY   tests/unit/daemon/store_test, transfer_test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <copykv/status.hpp>

#include "daemon/transfer.hpp"
#include "shm/arena.hpp"
#include "shm/fast_map.hpp"
#include "shm/item.hpp"
#include "shm/store_memory.hpp"

namespace copykv {

struct StoreOptions {
  uint64_t first_version =
      1;  ///< above every version an earlier store of this shard may have given
  uint32_t value_bytes_max = kValueBytesMaxDefault;
};

/// What became of an operation; what the response line needs, beyond sequence and placement.
struct StoreAnswer {
  Status status = Status::ok;
  bool retry = false;        ///< not done, nothing changed: call again in a later turn
  uint32_t value_bytes = 0;  ///< get, exists: size of the value
  uint32_t user_flags = 0;   ///< get
  uint64_t version = 0;      ///< of the item now; condition_failed: the one that stands; 0: none
  const std::byte* value = nullptr;  ///< get: 8-byte aligned, readable to the next multiple of 8
  int64_t number = 0;                ///< add: the sum
};

struct PutRequest {
  const void* value =
      nullptr;  ///< 8-byte aligned, readable to the next multiple of 8, may be shared
  uint32_t value_bytes = 0;
  uint32_t user_flags = 0;
  uint32_t ttl_ms = 0;  ///< 0: never expires
  Condition condition = Condition::always;
  uint64_t if_version = 0;
};

/// One page of key names: each u16 length (little-endian), then the bytes, without padding.
struct KeysPage {
  Status status = Status::ok;  ///< buffer_too_small: the next key (with its equals) does not fit
  uint32_t bytes = 0;
  uint32_t key_count = 0;
  uint64_t next_cursor = 0;  ///< 0: that was the last page
};

struct StoreCounters {
  uint64_t items;
  uint64_t expired;           ///< items dropped because their time was over
  uint64_t no_space;          ///< operations refused because the budget is used up
  uint64_t chain_full;        ///< puts refused because too many keys collide in one bucket
  uint64_t retries;           ///< operations put off because memory was still being populated
  uint64_t arena_used_bytes;  ///< of live items and overflow buckets, as size classes round them
  uint64_t arena_held_bytes;  ///< whole slabs and spans: the above, and the room inside slabs
  uint64_t index_bytes;       ///< primary buckets
  uint64_t populated_bytes;   ///< memory taken from the machine
  uint64_t budget_bytes;
};

class Store {
 public:
  /// The memory must outlive the store, and its first step must be populated (create() did that).
  Store(StoreMemory& memory, const StoreOptions& options);

  /// The time for every call until the next begin_turn. Milliseconds of any origin, never
  /// backwards.
  void begin_turn(uint64_t now_ms) noexcept { now_ms_ = now_ms; }

  // ---- the three steps of a lookup (shm/fast_map.hpp), so that a group shares its cache misses

  void locate(Probe& probe, uint64_t hash) const noexcept { map_.locate(probe, hash); }
  /// Before any operation since locate.
  void look(Probe& probe, uint64_t hash) const noexcept { map_.look(probe, hash); }
  [[nodiscard]] Probe probe(uint64_t hash) const noexcept { return map_.probe(hash); }

  // ---- operations. The probe must be of key.hash; it may be older than other operations.

  /// not_found. A value of more than kInlineValueBytes must be read through begin_get.
  [[nodiscard]] StoreAnswer get(const ItemKey& key, const Probe& probe) noexcept {
    const Item* item = find_plain(key, probe);
    if (item == nullptr) [[unlikely]]
      return get_further(key, probe);
    return {.value_bytes = item->value_bytes,
            .version = item->version,
            .value = item->at(sizeof(Item) + round_up_8(key.bytes))};
  }
  /// The item if it is there and plain (Item::is_plain); its value follows the key. nullptr says
  /// nothing: ask get.
  [[nodiscard]] Item* find_plain(const ItemKey& key, const Probe& probe) const noexcept {
    if (probe.mutations != map_.mutations() || probe.item == nullptr) return nullptr;
    return probe.item->is_plain(key) ? probe.item : nullptr;
  }
  /// Writes over a plain item whose value has the same length, in place, and returns the new
  /// version; 0: nothing was done, ask put. `value` as PutRequest::value.
  [[nodiscard]] uint64_t overwrite_plain(const ItemKey& key, const Probe& probe, const void* value,
                                         uint32_t value_bytes) noexcept {
    Item* item = find_plain(key, probe);
    if (item == nullptr || item->value_bytes != value_bytes) return 0;
    const uint64_t version = next_version_++;
    map_.begin_change(*probe.bucket);
    item->version = version;
    const auto* from = static_cast<const uint64_t*>(value);
    auto* to = reinterpret_cast<uint64_t*>(item->at(sizeof(Item) + round_up_8(key.bytes)));
    if (value_bytes > 0) poke(to[0], peek(from[0]));
    for (uint32_t word = 1; word * 8 < value_bytes; ++word) poke(to[word], peek(from[word]));
    map_.end_change(*probe.bucket);
    return version;
  }
  /// As get, without `value`.
  [[nodiscard]] StoreAnswer exists(const ItemKey& key, const Probe& probe) noexcept;
  /// For value_bytes <= kInlineValueBytes. condition_failed, no_space (the old value stands).
  [[nodiscard]] StoreAnswer put(const ItemKey& key, const Probe& probe,
                                const PutRequest& request) noexcept;
  /// not_found.
  [[nodiscard]] StoreAnswer del(const ItemKey& key, const Probe& probe) noexcept;
  /// Absent counts as 0 and is made without flags or expiry; else both are kept. not_a_number,
  /// no_space.
  [[nodiscard]] StoreAnswer add(const ItemKey& key, const Probe& probe, int64_t delta) noexcept;
  /// Replaces the expiry (0: never); the version stays. not_found, no_space.
  [[nodiscard]] StoreAnswer touch(const ItemKey& key, const Probe& probe, uint32_t ttl_ms) noexcept;

  // ---- large values: begin, some steps, then exactly one of commit_put / end_get / abort.

  /// For any value size. Checks the condition now, to spare the copy. ok: the transfer has begun;
  /// request.value is not used. Else as put, also value_too_large; the transfer stays idle.
  [[nodiscard]] StoreAnswer begin_put(Transfer& transfer, const ItemKey& key, const Probe& probe,
                                      const PutRequest& request) noexcept;
  /// Copies the next min(chunk_bytes, left) bytes from shared memory (aligned and readable as
  /// PutRequest::value). chunk_bytes is a multiple of 8. Returns the bytes left.
  uint32_t step_put(Transfer& transfer, const void* shared, uint32_t chunk_bytes) noexcept;
  /// Checks the condition again and links the item; on `retry` the transfer stays, commit again.
  [[nodiscard]] StoreAnswer commit_put(Transfer& transfer) noexcept;

  /// As get, and if the value is large: pins the item until end_get or abort. A small value is
  /// answered as by get and the transfer stays idle.
  [[nodiscard]] StoreAnswer begin_get(Transfer& transfer, const ItemKey& key,
                                      const Probe& probe) noexcept;
  /// Copies the next min(chunk_bytes, left) bytes to shared memory (8-byte aligned, writable to the
  /// next multiple of 8). chunk_bytes is a multiple of 8. Returns the bytes left.
  uint32_t step_get(Transfer& transfer, void* shared, uint32_t chunk_bytes) noexcept;
  void end_get(Transfer& transfer) noexcept { abort(transfer); }
  /// Instead of steps: where the whole value stands (get) or goes (put), for whoever moves it there
  /// without copying; then set_moved and commit_put, or end_get. Valid until then.
  [[nodiscard]] std::byte* memory_of(const Transfer& transfer) const noexcept;
  static void set_moved(Transfer& transfer) noexcept { transfer.done_bytes = transfer.value_bytes; }
  /// Ends a transfer of either kind, at any point, without effect on the map. Idle: nothing.
  void abort(Transfer& transfer) noexcept;

  // ---- the whole shard

  /// Keys from `cursor` on (0: the first), in the order of their bit-reversed hashes, a few buckets
  /// at most. A key that stands during the whole enumeration is seen exactly once, also while the
  /// map grows. A page may be empty before the last one.
  [[nodiscard]] KeysPage keys(uint64_t cursor, std::span<std::byte> room) noexcept;
  /// Drops expired items in the next `buckets_max` buckets. Returns how many were dropped.
  uint32_t sweep(uint32_t buckets_max) noexcept;

  [[nodiscard]] StoreCounters counters() const noexcept;
  [[nodiscard]] const FastMapCounters& map_counters() const noexcept { return map_.counters(); }
  [[nodiscard]] uint64_t last_version() const noexcept { return next_version_ - 1; }
  /// For tests: every invariant of map and arena. Time proportional to the store.
  [[nodiscard]] bool is_valid() const;

 private:
  [[nodiscard]] Item& item_at(Offset offset) const noexcept {
    return *reinterpret_cast<Item*>(arena_.at(offset));
  }
  [[nodiscard]] Offset offset_of(const Item& item) const noexcept {
    return static_cast<uint64_t>(item.at(0) - arena_.at(0));
  }
  /// The live item of the key; an expired one is dropped first.
  [[nodiscard]] Found find_live(const ItemKey& key, const Probe& probe) noexcept {
    Found found = map_.find(key, probe);
    if (found && found.item->extended()) [[unlikely]]
      drop_if_expired(found);
    return found;
  }
  void drop_if_expired(Found& found) noexcept;
  /// get of any item, or none.
  [[nodiscard]] StoreAnswer get_further(const ItemKey& key, const Probe& probe) noexcept;
  [[nodiscard]] static StoreAnswer answer_of(const Item& item) noexcept {
    return {.status = Status::ok,
            .value_bytes = item.value_bytes,
            .user_flags = item.user_flags(),
            .version = item.version,
            .value = item.value()};
  }
  [[nodiscard]] static bool condition_holds(Condition condition, uint64_t if_version,
                                            const Found& found) noexcept {
    switch (condition) {
      case Condition::always:
        return true;
      case Condition::if_absent:
        return !found;
      case Condition::if_present:
        return static_cast<bool>(found);
      case Condition::if_version:
        return found && found.item->version == if_version;
    }
    return false;
  }
  [[nodiscard]] StoreAnswer condition_failed(const Found& found) const noexcept;
  [[nodiscard]] StoreAnswer refuse(Room room) noexcept;
  [[nodiscard]] StoreAnswer refuse(FastMap::Insert inserted) noexcept;
  [[nodiscard]] uint64_t expiry_of(uint32_t ttl_ms) const noexcept {
    return ttl_ms == 0 ? 0 : now_ms_ + ttl_ms;
  }

  struct NewValue {
    const void* bytes;
    uint32_t value_bytes;
    uint32_t user_flags;
    uint64_t expires_at_ms;
  };
  [[nodiscard]] StoreAnswer write(const ItemKey& key, const Found& found,
                                  const NewValue& value) noexcept;
  void set_expiry(Item& item, uint64_t expires_at_ms) noexcept;
  /// An item with everything but its value and version, not linked.
  [[nodiscard]] Allocation make_item(const ItemKey& key, uint32_t value_bytes, uint8_t traits,
                                     uint32_t user_flags, uint64_t expires_at_ms) noexcept;
  [[nodiscard]] StoreAnswer link(const Found& found, uint64_t hash, Offset offset,
                                 uint64_t version) noexcept;
  [[nodiscard]] StoreAnswer link_or_free(const Found& found, uint64_t hash, Offset offset,
                                         uint64_t version) noexcept;
  void unlink(const Found& found) noexcept;
  void forget(Item& item) noexcept;

  Arena arena_;
  FastMap map_;
  const StoreMemory& memory_;
  const uint32_t value_bytes_max_;
  uint64_t now_ms_ = 0;
  uint64_t next_version_;
  uint64_t expiring_items_ = 0;  ///< linked items with an expiry: 0 spares the sweep
  uint64_t sweep_bucket_ = 0;
  uint64_t expired_ = 0;
  uint64_t no_space_ = 0;
  uint64_t chain_full_ = 0;
  uint64_t retries_ = 0;
};

}  // namespace copykv
