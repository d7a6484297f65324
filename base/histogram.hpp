// SPDX-License-Identifier: Apache-2.0
// Latencies with three significant digits, from 1 ns to more than an hour, in fixed memory.
//
// LAYOUT  As HdrHistogram with 2,048 sub-buckets: values below 2,048 ns have a bucket each; every
//   further power of two is divided into 1,024. A bucket is at most 1/1,024 of its value wide.
// MERGE   by adding counts (operator +=), never by averaging percentiles.
// EXACT   count, sum (hence the mean) and max; percentiles are the upper end of their bucket,
//   never more than max.
// THREADS one writer; read or merge it after the writer has stopped.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace copykv {

class Histogram {
 public:
  static constexpr uint32_t kSubBucketBits = 11;
  static constexpr uint32_t kValueBits = 42;  // 2^42 ns: 73 minutes
  static constexpr uint64_t kValueNsMax = (uint64_t{1} << kValueBits) - 1;
  static constexpr size_t kBucketCount = size_t{kValueBits - kSubBucketBits + 2}
                                         << (kSubBucketBits - 1);

  /// Allocates everything it will ever use (264 KiB).
  Histogram() : counts_(kBucketCount) {}

  /// Counts one value; larger ones count as kValueNsMax.
  void record(uint64_t value_ns) noexcept { record_n(value_ns, 1); }
  /// Counts `times` equal values.
  void record_n(uint64_t value_ns, uint64_t times) noexcept {
    value_ns = value_ns < kValueNsMax ? value_ns : kValueNsMax;
    counts_[bucket_of(value_ns)] += times;
    count_ += times;
    sum_ns_ += value_ns * times;
    // Without a branch: a maximum that rarely moves must not cost a misprediction when it does.
    const uint64_t seen_ns = times > 0 ? value_ns : 0;
    max_ns_ = seen_ns > max_ns_ ? seen_ns : max_ns_;
  }

  Histogram& operator+=(const Histogram& other) noexcept;
  void clear() noexcept;

  /// Adds one bucket of a histogram that came from elsewhere (a process, a file), as
  /// for_each_bucket gave it. Follow with add_totals, which restores the exact sum and maximum.
  void add_bucket(uint64_t upper_ns, uint64_t times) noexcept {
    counts_[bucket_of(upper_ns < kValueNsMax ? upper_ns : kValueNsMax)] += times;
    count_ += times;
  }
  void add_totals(uint64_t sum_ns, uint64_t max_ns) noexcept {
    sum_ns_ += sum_ns;
    max_ns_ = max_ns > max_ns_ ? max_ns : max_ns_;
  }

  [[nodiscard]] uint64_t count() const noexcept { return count_; }
  [[nodiscard]] uint64_t sum_ns() const noexcept { return sum_ns_; }
  [[nodiscard]] uint64_t max_ns() const noexcept { return max_ns_; }
  /// 0 when nothing was counted.
  [[nodiscard]] double mean_ns() const noexcept;
  [[nodiscard]] double standard_deviation_ns() const noexcept;
  /// The value that `percent` (0..100) of all values do not exceed; 0 when nothing was counted.
  [[nodiscard]] uint64_t percentile_ns(double percent) const noexcept;

  /// Calls on_bucket(upper_ns, count) for each bucket that holds something, in rising order.
  template <class OnBucket>
  void for_each_bucket(OnBucket&& on_bucket) const {
    for (size_t bucket = 0; bucket < kBucketCount; ++bucket) {
      if (counts_[bucket] != 0) on_bucket(upper_ns_of(bucket), counts_[bucket]);
    }
  }

  /// The text of HdrHistogram's percentile output (.hgrm), values divided by `value_scale`
  /// (1,000: microseconds).
  [[nodiscard]] std::string to_hgrm(double value_scale = 1000.0) const;

  [[nodiscard]] static constexpr size_t bucket_of(uint64_t value_ns) noexcept {
    const auto shift =
        static_cast<uint32_t>(std::bit_width(value_ns | kSubBucketMask)) - kSubBucketBits;
    return (size_t{shift} << (kSubBucketBits - 1)) + static_cast<size_t>(value_ns >> shift);
  }
  /// The largest value that falls into the bucket.
  [[nodiscard]] static constexpr uint64_t upper_ns_of(size_t bucket) noexcept {
    if (bucket <= kSubBucketMask) return bucket;
    const auto shift = static_cast<uint32_t>(bucket >> (kSubBucketBits - 1)) - 1;
    const uint64_t steps = bucket - (size_t{shift} << (kSubBucketBits - 1));
    return ((steps + 1) << shift) - 1;
  }

 private:
  static constexpr uint64_t kSubBucketMask = (uint64_t{1} << kSubBucketBits) - 1;

  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  uint64_t sum_ns_ = 0;
  uint64_t max_ns_ = 0;
};

static_assert(Histogram::bucket_of(Histogram::kValueNsMax) == Histogram::kBucketCount - 1,
              "the largest value has the last bucket");

}  // namespace copykv
