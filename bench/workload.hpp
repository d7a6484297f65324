// SPDX-License-Identifier: Apache-2.0
// What one client asks for, drawn ahead in batches so that the measured loop only walks an array.
//
// A client's stream is a function of its seed alone. Not thread-safe: one per client.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

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
  uint32_t key_index;
  uint32_t value_bytes;  ///< put, modify
  Kind kind;
};

/// The parts of a load that all clients have in common.
struct Workload {
  uint64_t key_range = 1024;
  uint32_t key_bytes = 8;
  ValueSizes sizes{};
  Distribution distribution{};
  double read_ratio = 0.5;
  bool modify = false;  ///< writes are read-modify-writes (ycsb-f)
};

class OpStream {
 public:
  /// `client` of `clients` walks its own share of the keys where the distribution is `latest`.
  OpStream(const Workload& workload, uint64_t seed, uint32_t client, uint32_t clients);

  [[nodiscard]] const PlannedOp& next() noexcept {
    if (next_ == batch_.size()) [[unlikely]]
      refill();
    return batch_[next_++];
  }

 private:
  static constexpr size_t kBatchOps = 256;

  void refill() noexcept;
  template <class DrawKey>
  void plan(DrawKey&& draw_key) noexcept;
  [[nodiscard]] uint32_t draw_latest(bool is_write) noexcept;

  // Constant after construction.
  Workload workload_;
  uint64_t read_below_;  ///< a get when 63 random bits are below this
  uint32_t client_;
  uint64_t share_;    ///< latest: keys that this client walks
  uint64_t stride_;   ///< latest: distance between two of them
  uint64_t hot_set_;  ///< hotspot: number of hot keys
  Zipfian zipfian_;
  Scatter scatter_;

  Random random_;
  uint64_t cursor_ = 0;  ///< latest: writes planned
  size_t next_ = kBatchOps;
  std::array<PlannedOp, kBatchOps> batch_;
};

}  // namespace copykv::bench
