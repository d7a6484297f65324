// SPDX-License-Identifier: Apache-2.0
// What the checked build (-DCOPYKV_CHECKED, build/sim/copykv-sim) puts between the code and the
// machine: simulated memory, steps at which a client can die, and planted bugs. The product has
// none of it: nothing here is compiled into it.
//
// SIMULATED MEMORY  A processor's stores stand in its store buffer until they drain, and only it
//   sees them before: what atomics.hpp calls poke and publish goes through here. Drains keep order
//   (total store order), or let pokes overtake each other while no store overtakes a publish
//   (partial store order with release), as the simulation chooses. full_fence and exchange drain.
//   Loads happen at once: on the machines that we run on, only stores wait.
// PLANTED BUGS      One rule broken each. A simulation that does not notice proves nothing.
// THREADS           One.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace copykv {

#define COPYKV_PLANTED_BUGS(bug)                                                                  \
  bug(stamp_from_memory, "an answer carries the number that stands in shared memory")             \
      bug(early_credit, "ring room is given back before the calls in it are served")              \
          bug(unreserved_answer, "a call reserves no room for its answer")                        \
              bug(no_fence, "a waker looks for sleepers before its request is visible")           \
                  bug(stale_session,                                                              \
                      "what an earlier incarnation has written is taken for the present one's")   \
                      bug(lost_wakeup, "a daemon goes to sleep without a last look at its lanes") \
                          bug(serve_expired, "an item is served after its time")                  \
                              bug(forget_write,                                                   \
                                  "a put is acknowledged and not carried out, once in a while")

enum class PlantedBug : uint8_t {
  none,
#define COPYKV_BUG_NAME(name, what) name,
  COPYKV_PLANTED_BUGS(COPYKV_BUG_NAME)
#undef COPYKV_BUG_NAME
};

class StoreBuffer {
 public:
  /// Whose code runs; nullptr: stores are visible at once.
  static inline StoreBuffer* current = nullptr;

  /// Only stores into these bytes wait.
  void watch(const void* base, size_t bytes);
  /// A place is gone: what waits for it never arrives.
  void forget(const void* base, size_t bytes);

  template <class T>
  void store(T& word, T value, bool release) {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    if (!is_watched(reinterpret_cast<uintptr_t>(&word))) {
      std::memcpy(&word, &value, sizeof(T));
      return;
    }
    if (dead_) return;
    if (entries_.size() - first_ == kEntriesMax) drain_first();
    Entry entry{&word, sizeof(T), release, 0};
    std::memcpy(&entry.bits, &value, sizeof(T));
    entries_.push_back(entry);
  }
  template <class T>
  [[nodiscard]] T load(const T& word) {
    T value;
    for (size_t index = entries_.size(); index-- > first_;) {
      const Entry& entry = entries_[index];
      if (entry.word == &word && entry.bytes == sizeof(T)) {
        std::memcpy(&value, &entry.bits, sizeof(T));
        return value;
      }
      if (entry.overlaps(reinterpret_cast<uintptr_t>(&word), sizeof(T))) {
        drain();  // half of a wider word: the processor waits
        break;
      }
    }
    std::memcpy(&value, &word, sizeof(T));
    return value;
  }

  /// Everything becomes visible.
  void drain();
  /// Entry by entry in an allowed order: `skip` says of each whether it stays behind.
  template <class Skip>
  void drain_some(Skip skip) {
    std::vector<Entry> kept;
    bool passed_release = false;
    for (size_t index = first_; index < entries_.size(); ++index) {
      const Entry& entry = entries_[index];
      bool stays = passed_release || (entry.release && !kept.empty());
      for (const Entry& earlier : kept) {
        stays = stays || entry.overlaps(earlier.address(), earlier.bytes);
      }
      if (!stays && !skip()) {
        write(entry);
        continue;
      }
      passed_release = passed_release || entry.release;
      kept.push_back(entry);
    }
    entries_.swap(kept);
    first_ = 0;
  }
  [[nodiscard]] bool empty() const { return first_ == entries_.size(); }
  /// Stores into watched bytes are lost from now on: whoever made them has died before.
  void die() { dead_ = true; }

 private:
  static constexpr size_t kEntriesMax = 56;  // as many as a core of today has
  struct Entry {
    void* word;
    uint32_t bytes;
    bool release;
    uint64_t bits;
    [[nodiscard]] uintptr_t address() const { return reinterpret_cast<uintptr_t>(word); }
    [[nodiscard]] bool overlaps(uintptr_t from, size_t size) const {
      return address() < from + size && from < address() + bytes;
    }
  };
  struct Range {
    uintptr_t base;
    size_t bytes;
  };
  [[nodiscard]] bool is_watched(uintptr_t address) const {
    for (const Range& range : ranges_) {
      if (address - range.base < range.bytes) return true;
    }
    return false;
  }
  static void write(const Entry& entry);
  void drain_first();

  std::vector<Entry> entries_{};  ///< from first_ on
  size_t first_ = 0;
  std::vector<Range> ranges_{};
  bool dead_ = false;
};

/// The seams of one simulated machine. Set by the simulation.
struct Checked {
  static inline PlantedBug planted = PlantedBug::none;
  /// A client's code has passed a step (COPYKV_FAULT_POINT).
  static inline void (*on_step)(const char* step) = nullptr;
  /// Every processor that shares memory with the running one has passed a full fence.
  static inline void (*on_heavy_fence)() = nullptr;
  /// Somebody sleeps on this word, and is woken.
  static inline void (*on_wake)(const uint32_t* word) = nullptr;
};

/// PlantedBug::none for a name that is none.
[[nodiscard]] PlantedBug planted_bug_of(std::string_view name);
struct PlantedBugInfo {
  PlantedBug bug;
  std::string_view name;
  std::string_view what;
};
[[nodiscard]] const std::vector<PlantedBugInfo>& planted_bugs();

}  // namespace copykv
