// SPDX-License-Identifier: Apache-2.0
// One measured piece of work on a store, for instruction counts under callgrind (store_cost.py), or
// a growth run that prints memory and time.
//
//   store_cost get | get-group | put | put-new | put-split ENTRIES
//   store_cost grow ITEMS [KEY_BYTES VALUE_BYTES [1: huge pages]]
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "tests/unit/daemon/store_fixture.hpp"

namespace copykv {
namespace {

using test::StoreFixture;

constexpr uint32_t kOperations = 1'600;
constexpr uint32_t kGroup = 16;

struct Word {
  explicit Word(uint64_t bits) : word(bits) {}
  [[nodiscard]] ItemKey key() const {
    return {&word, 8, hash_key({reinterpret_cast<const char*>(&word), 8})};
  }
  uint64_t word;
};

alignas(8) std::byte value_bytes[32] = {};
const PutRequest kRequest{.value = value_bytes, .value_bytes = 8};

std::vector<ItemKey> keys_of(const std::vector<Word>& words) {
  std::vector<ItemKey> keys;
  for (const Word& word : words) keys.push_back(word.key());
  return keys;
}

/// Processor time, so that a busy machine does not count.
double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Sums what an engine would copy, so that nothing is optimised away.
uint64_t use(const StoreAnswer& answer) {
  return answer.version + answer.value_bytes + answer.user_flags +
         static_cast<uint64_t>(answer.status);
}

}  // namespace

// Named for callgrind's --toggle-collect; not inlined, so that the count is exactly theirs.
extern "C" __attribute__((noinline)) uint64_t measured_get(Store& store, const ItemKey* keys) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < kOperations; ++i) {
    const Probe probe = store.probe(keys[i].hash);
    const StoreAnswer answer = store.get(keys[i], probe);
    uint64_t word;
    std::memcpy(&word, answer.value, 8);
    sum += use(answer) + word;
  }
  return sum;
}

extern "C" __attribute__((noinline)) uint64_t measured_get_group(Store& store,
                                                                 const ItemKey* keys) {
  uint64_t sum = 0;
  for (uint32_t first = 0; first < kOperations; first += kGroup) {
    const ItemKey* group = keys + first;
    Probe probes[kGroup];
    for (uint32_t i = 0; i < kGroup; ++i) store.locate(probes[i], group[i].hash);
    for (uint32_t i = 0; i < kGroup; ++i) store.look(probes[i], group[i].hash);
    for (uint32_t i = 0; i < kGroup; ++i) {
      const StoreAnswer answer = store.get(group[i], probes[i]);
      uint64_t word;
      std::memcpy(&word, answer.value, 8);
      sum += use(answer) + word;
    }
  }
  return sum;
}

extern "C" __attribute__((noinline)) uint64_t measured_put(Store& store, const ItemKey* keys,
                                                           uint32_t count) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; ++i) {
    sum += use(store.put(keys[i], store.probe(keys[i].hash), kRequest));
  }
  return sum;
}

namespace {

/// Fills bucket 0 with `entries` keys and the rest so far that the next new key splits bucket 0.
std::vector<Word> prepare_split(StoreFixture& under, uint32_t entries) {
  Random random(7);
  uint64_t items = 0;
  uint32_t in_first = 0;
  while (items < 4'096 * 24 / 5) {
    const Word word(random.next());
    const bool first = word.key().hash % 4'096 == 0;
    if (first && in_first == entries) continue;
    // The rest waits until bucket 0 is full, so that nothing splits too early.
    if (!first && in_first < entries) continue;
    COPYKV_ASSERT(under
                      .run([&] {
                        const ItemKey key = word.key();
                        return under.store.put(key, under.probe(key), kRequest);
                      })
                      .status == Status::ok);
    ++items;
    in_first += first ? 1 : 0;
  }
  std::vector<Word> next;
  while (next.empty()) {
    const Word word(random.next());
    if (word.key().hash % 4'096 != 0) next.push_back(word);
  }
  return next;
}

int cost(std::string_view what, uint32_t entries) {
  StoreFixture under(64 * (uint64_t{1} << 20));
  under.populate_all();
  Random random(1);
  std::vector<Word> words;
  uint32_t operations = kOperations;
  if (what == "put-split") {
    words = prepare_split(under, entries);
    operations = 1;
  } else {
    for (uint32_t i = 0; i < kOperations; ++i) words.emplace_back(random.next());
  }
  const std::vector<ItemKey> keys = keys_of(words);
  if (what.substr(0, 3) == "get" || what == "put") {
    for (const ItemKey& key : keys) (void)under.store.put(key, under.probe(key), kRequest);
  }
  uint64_t sum = 0;
  if (what == "get") {
    sum = measured_get(under.store, keys.data());
  } else if (what == "get-group") {
    sum = measured_get_group(under.store, keys.data());
  } else {
    sum = measured_put(under.store, keys.data(), operations);
  }
  fmt::print("operations {} sum {}\n", operations, sum);
  return under.store.is_valid() ? 0 : 1;
}

/// Reads keys of a grown store in random order, in groups of 16, as the engine does.
void read_back(StoreFixture& under, uint64_t items, uint32_t key_bytes) {
  constexpr uint64_t kReads = 2'000'000;
  Random random(5);
  uint64_t words[kGroup][kKeyBytesMax / 8] = {};
  ItemKey keys[kGroup];
  Probe probes[kGroup];
  uint64_t found = 0;
  const double start = cpu_seconds();
  for (uint64_t first = 0; first < kReads; first += kGroup) {
    for (uint32_t i = 0; i < kGroup; ++i) {
      // The state of splitmix64 before its n-th step: any key of grow() without a table of keys.
      uint64_t state = 1 + random.below(items) * 0x9e3779b97f4a7c15U;
      words[i][0] = splitmix64(state);
      keys[i] = {words[i], key_bytes,
                 hash_key({reinterpret_cast<const char*>(words[i]), key_bytes})};
      under.store.locate(probes[i], keys[i].hash);
    }
    for (uint32_t i = 0; i < kGroup; ++i) under.store.look(probes[i], keys[i].hash);
    for (uint32_t i = 0; i < kGroup; ++i) {
      const StoreAnswer answer = under.store.get(keys[i], probes[i]);
      found += answer.status == Status::ok ? 1 : 0;
      asm volatile("" : : "r"(answer.value), "r"(answer.version));
    }
  }
  const double seconds = cpu_seconds() - start;
  fmt::print(
      "random reads in groups of 16: {:.1f} M per second of processor time, {} of {} found\n",
      static_cast<double>(kReads) / seconds * 1e-6, found, kReads);
}

int grow(uint64_t items, uint32_t key_bytes, uint32_t bytes, bool huge) {
  const uint64_t budget = 64 * (uint64_t{1} << 20) + items * (key_bytes + bytes + 60) * 9 / 8;
  StoreFixture under(budget, true, {}, huge ? HugePages::attempt : HugePages::off);
  std::vector<std::byte> value(bytes + 8);
  const PutRequest request{.value = value.data(), .value_bytes = bytes};
  uint64_t words[kKeyBytesMax / 8] = {};
  uint64_t state = 1;
  double worst = 0;
  uint64_t worst_at = 0;
  const double start = cpu_seconds();
  for (uint64_t item = 1; item <= items; ++item) {
    words[0] = splitmix64(state);
    const ItemKey key{words, key_bytes,
                      hash_key({reinterpret_cast<const char*>(words), key_bytes})};
    const auto put = under.run([&] { return under.store.put(key, under.probe(key), request); });
    COPYKV_ASSERT(put.status == Status::ok, "item {}", item);
    if (item % 1'000 == 0) under.populate_all();  // as the control thread does beside it
    if (item < 1'000'000 || item % 50'000 != 0) continue;
    const StoreCounters counters = under.store.counters();
    const uint64_t held = counters.arena_held_bytes + counters.index_bytes;
    const double over = static_cast<double>(held) / static_cast<double>(item) - key_bytes - bytes;
    if (over > worst) worst_at = item;
    worst = std::max(worst, over);
  }
  const double seconds = cpu_seconds() - start;
  const StoreCounters counters = under.store.counters();
  const uint64_t held = counters.arena_held_bytes + counters.index_bytes;
  const auto count = static_cast<double>(items);
  fmt::print(
      "{} items of {}+{} B in {:.2f} s of processor time ({:.2f} M puts/s, populating included)\n",
      items, key_bytes, bytes, seconds, count / seconds * 1e-6);
  fmt::print(
      "memory per item beyond key and value: {:.1f} B (index {:.1f} B); worst from 1 M on: "
      "{:.1f} B at {} items\n",
      static_cast<double>(held) / count - key_bytes - bytes,
      static_cast<double>(counters.index_bytes) / count, worst, worst_at);
  const FastMapCounters& map = under.store.map_counters();
  fmt::print(
      "splits {}, entries moved by one split at most {}, keys rehashed {}, longest chain {}, "
      "overflow buckets {}\n",
      map.splits, map.entries_moved_max, map.keys_rehashed, map.chain_buckets_max,
      map.overflow_buckets);
  fmt::print("{}\n", under.memory->page_note());
  read_back(under, items, key_bytes);
  return 0;
}

int run(int count, char** words) {
  const std::string_view what = count > 1 ? words[1] : "";
  const auto number = [&](int at, uint64_t otherwise) {
    return at < count ? std::strtoull(words[at], nullptr, 10) : otherwise;
  };
  if (what == "grow") {
    return grow(number(2, 10'000'000), static_cast<uint32_t>(number(3, 8)),
                static_cast<uint32_t>(number(4, 32)), number(5, 0) != 0);
  }
  if (what == "get" || what == "get-group" || what == "put" || what == "put-new" ||
      what == "put-split") {
    return cost(what, static_cast<uint32_t>(number(2, 14)));
  }
  fmt::print(stderr,
             "usage: store_cost get|get-group|put|put-new|put-split N|grow N [KEY VALUE]\n");
  return 2;
}

}  // namespace
}  // namespace copykv

int main(int count, char** words) {
  return copykv::run(count, words);
}
