// SPDX-License-Identifier: Apache-2.0
#include "base/histogram.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.hpp"

namespace copykv {
namespace {

TEST_CASE("every value lies in its bucket and within a thousandth of its end") {
  Random random(1);
  for (uint32_t i = 0; i < 200'000; ++i) {
    const uint64_t value = random.next() >> (22 + random.below(42));
    const size_t bucket = Histogram::bucket_of(value);
    const uint64_t upper = Histogram::upper_ns_of(bucket);
    REQUIRE(bucket < Histogram::kBucketCount);
    REQUIRE(value <= upper);
    REQUIRE(Histogram::bucket_of(upper) == bucket);
    REQUIRE(upper - value <= value / 1024);
  }
}

TEST_CASE("buckets follow one another without gaps") {
  for (size_t bucket = 0; bucket + 1 < Histogram::kBucketCount; ++bucket) {
    REQUIRE(Histogram::bucket_of(Histogram::upper_ns_of(bucket) + 1) == bucket + 1);
  }
  CHECK(Histogram::upper_ns_of(Histogram::kBucketCount - 1) == Histogram::kValueNsMax);
}

TEST_CASE("an empty histogram answers with zeros") {
  const Histogram histogram;
  CHECK(histogram.count() == 0);
  CHECK(histogram.mean_ns() == 0);
  CHECK(histogram.percentile_ns(99) == 0);
  CHECK(histogram.standard_deviation_ns() == 0);
  CHECK(histogram.to_hgrm().find("Total count    =            0]") != std::string::npos);
}

TEST_CASE("percentiles agree with the sorted values, count, sum and maximum exactly") {
  Random random(2);
  Histogram histogram;
  std::vector<uint64_t> values;
  uint64_t sum = 0;
  for (uint32_t i = 0; i < 10'000; ++i) {
    values.push_back(static_cast<uint64_t>(100 * std::exp(random.unit() * 12)));
    histogram.record(values.back());
    sum += values.back();
  }
  std::sort(values.begin(), values.end());
  CHECK(histogram.count() == values.size());
  CHECK(histogram.sum_ns() == sum);
  CHECK(histogram.max_ns() == values.back());
  CHECK(histogram.mean_ns() == static_cast<double>(sum) / 10'000);
  for (const double percent : {0.01, 1.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
    const auto rank = static_cast<size_t>(std::llround(percent * 100));  // of 10,000 values
    const uint64_t exact = values[rank - 1];
    INFO(percent);
    CHECK(histogram.percentile_ns(percent) >= exact);
    CHECK(histogram.percentile_ns(percent) <= exact + exact / 1024);
  }
}

TEST_CASE("merging equals recording everything in one place") {
  Random random(3);
  Histogram together;
  Histogram left;
  Histogram right;
  Histogram parts;
  for (uint32_t i = 0; i < 5'000; ++i) {
    const uint64_t value = random.below(50'000'000);
    together.record(value);
    (i % 3 == 0 ? left : right).record(value);
  }
  left += right;
  together.for_each_bucket([&](uint64_t upper, uint64_t times) { parts.add_bucket(upper, times); });
  parts.add_totals(together.sum_ns(), together.max_ns());
  CHECK(left.to_hgrm() == together.to_hgrm());
  CHECK(parts.to_hgrm() == together.to_hgrm());
  left.clear();
  CHECK(left.to_hgrm() == Histogram().to_hgrm());
}

TEST_CASE("values beyond the range count as the largest, zero times count nothing") {
  Histogram histogram;
  histogram.record_n(5'000, 0);
  CHECK(histogram.max_ns() == 0);
  histogram.record(UINT64_MAX);
  histogram.record_n(7, 3);
  CHECK(histogram.count() == 4);
  CHECK(histogram.max_ns() == Histogram::kValueNsMax);
  CHECK(histogram.percentile_ns(75) == 7);
  CHECK(histogram.percentile_ns(76) == Histogram::kValueNsMax);
}

// The expected text was written by hand from the format of HdrHistogram's percentile output: levels
// in five steps per halving, a line per level at which a bucket reaches it, three footer lines.
TEST_CASE("the percentile output has HdrHistogram's format") {
  Histogram histogram;
  histogram.record(1'000);
  histogram.record(2'000);
  histogram.record(1'500'000);
  histogram.record(1'500'000);
  CHECK(histogram.to_hgrm() ==
        "       Value     Percentile TotalCount 1/(1-Percentile)\n"
        "\n"
        "       1.000 0.000000000000          1           1.00\n"
        "       1.000 0.100000000000          1           1.11\n"
        "       1.000 0.200000000000          1           1.25\n"
        "       2.000 0.300000000000          2           1.43\n"
        "       2.000 0.400000000000          2           1.67\n"
        "       2.000 0.500000000000          2           2.00\n"
        "    1500.000 0.550000000000          4           2.22\n"
        "    1500.000 1.000000000000          4\n"
        "#[Mean    =      750.750, StdDeviation   =      749.250]\n"
        "#[Max     =     1500.000, Total count    =            4]\n"
        "#[Buckets =           32, SubBuckets     =         2048]\n");
}

}  // namespace
}  // namespace copykv
