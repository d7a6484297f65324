// SPDX-License-Identifier: Apache-2.0
// What one client asks for, drawn ahead in batches so that the measured loop only walks an array.
//
// A client's stream is a function of its seed alone. Not thread-safe: one per client.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/random.hpp"
#include "bench/distribution.hpp"
#include "bench/sizes.hpp"

namespace copykv::bench {

enum class Kind : uint8_t {
  get = 0,
  put = 1,
  modify = 2,  ///< a get and, once answered, a put of the same key: two operations
};

struct PlannedOp {
  uint32_t key_index;    ///< that the key's name spells (keys.hpp)
  uint32_t value_bytes;  ///< put, modify
  Kind kind;
  bool remote = false;  ///< another rank owns the key
};

/// One that is on its way.
struct StartedOp {
  uint64_t submitted_ns;
  uint64_t meant_ns;
  uint32_t key_index;
  uint32_t value_bytes;  ///< modify: of the put that follows
  Kind kind;
  bool remote;
};

/// The parts of a load that all clients have in common.
struct Workload {
  uint64_t key_range = 1024;  ///< keys of each rank
  uint32_t key_bytes = 8;
  ValueSizes sizes{};
  Distribution distribution{};
  double read_ratio = 0.5;
  bool modify = false;          ///< writes are read-modify-writes (ycsb-f)
  double local_ratio = kByKey;  ///< share of operations on keys of the own rank

  // With several ranks (key_map.hpp): places of keys are numbered rank after rank.
  uint32_t ranks = 1;
  uint32_t rank = 0;                        ///< the own one
  std::span<const uint32_t> key_numbers{};  ///< by place; empty: each place is its own number

  static constexpr double kByKey = -1;  ///< as the distribution over all keys has it

  [[nodiscard]] uint64_t keys() const noexcept { return key_range * ranks; }
  [[nodiscard]] uint32_t number_of(uint64_t place) const noexcept {
    return key_numbers.empty() ? static_cast<uint32_t>(place) : key_numbers[place];
  }
  [[nodiscard]] bool is_remote(uint64_t place) const noexcept {
    return place - rank * key_range >= key_range;
  }
};

class OpStream {
 public:
  /// `client` of `clients` (of all ranks) walks its own share of the keys where the distribution is
  /// `latest`.
  OpStream(const Workload& workload, uint64_t seed, uint32_t client, uint32_t clients);

  [[nodiscard]] const PlannedOp& next() noexcept {
    if (next_ == batch_.size()) [[unlikely]]
      refill();
    return batch_[next_++];
  }

 private:
  static constexpr size_t kBatchOps = 256;

  void refill() noexcept;
  template <class DrawPlace>
  void plan(DrawPlace&& draw_place) noexcept;
  [[nodiscard]] uint64_t draw_latest(bool is_write) noexcept;
  [[nodiscard]] uint64_t draw_by_ratio() noexcept;

  // Constant after construction.
  Workload workload_;
  uint64_t read_below_;  ///< a get when 63 random bits are below this
  uint32_t client_;
  uint64_t share_;   ///< latest: keys that this client walks
  uint64_t stride_;  ///< latest: distance between two of them
  Zipfian latest_;   ///< latest: how far a read falls behind the last write
  KeyDraw all_;      ///< by key
  KeyDraw own_;      ///< by ratio: of the own rank
  KeyDraw others_;   ///< by ratio: of the other ranks

  Random random_;
  uint64_t cursor_ = 0;  ///< latest: writes planned
  size_t next_ = kBatchOps;
  std::array<PlannedOp, kBatchOps> batch_;
};

}  // namespace copykv::bench
