// SPDX-License-Identifier: Apache-2.0
// What is asked for: distributions, lengths, mixes, keys, arrivals.
#include "bench/workload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "bench/arrival.hpp"
#include "bench/keys.hpp"

namespace copykv::bench {
namespace {

constexpr uint64_t kDraws = 400'000;

Workload make(const std::string& distribution, uint64_t key_range, double read_ratio = 1) {
  Workload workload;
  workload.key_range = key_range;
  workload.sizes = *ValueSizes::parse("8");
  workload.distribution = *Distribution::parse(distribution);
  workload.read_ratio = read_ratio;
  return workload;
}

std::vector<uint64_t> count_keys(const Workload& workload, uint64_t seed = 7) {
  OpStream stream(workload, seed, 0, 1);
  std::vector<uint64_t> counts(workload.key_range);
  for (uint64_t i = 0; i < kDraws; ++i) ++counts.at(stream.next().key_index);
  return counts;
}

// Pearson's statistic; with k cells about k - 1, standard deviation sqrt(2k).
double chi_square(const std::vector<uint64_t>& seen, const std::vector<double>& probability) {
  double sum = 0;
  for (size_t i = 0; i < seen.size(); ++i) {
    const double expected = probability[i] * static_cast<double>(kDraws);
    sum += (static_cast<double>(seen[i]) - expected) * (static_cast<double>(seen[i]) - expected) /
           expected;
  }
  return sum;
}

// Six standard deviations above the mean: one seed in a thousand million.
double chi_square_limit(size_t cells) {
  const auto k = static_cast<double>(cells);
  return k + 6 * std::sqrt(2 * k);
}

}  // namespace

TEST_CASE("uniform: every key as often as every other") {
  const std::vector<double> flat(1000, 1.0 / 1000);
  CHECK(chi_square(count_keys(make("uniform", 1000)), flat) < chi_square_limit(1000));
  // The same test finds a distribution that is not uniform.
  CHECK(chi_square(count_keys(make("zipfian:0.1", 1000)), flat) > chi_square_limit(1000));
}

TEST_CASE("zipfian: frequencies follow 1 / rank^theta, and every rank has its own key") {
  const double theta = GENERATE(0.5, 0.9, 0.99);
  constexpr uint64_t kKeys = 1000;
  auto counts = count_keys(make(fmt::format("zipfian:{}", theta), kKeys));
  std::sort(counts.rbegin(), counts.rend());
  const double zeta_n = zeta(kKeys, theta);
  // The method of Gray et al. is exact for the two most popular keys and close for the others.
  for (const uint64_t rank : {0U, 1U}) {
    const double expected =
        static_cast<double>(kDraws) / std::pow(static_cast<double>(rank + 1), theta) / zeta_n;
    CHECK(static_cast<double>(counts[rank]) == Approx(expected).epsilon(0.03));
  }
  double seen_half = 0;
  double expected_half = 0;
  for (size_t rank = 0; rank < kKeys / 2; ++rank) {
    seen_half += static_cast<double>(counts[rank]) / static_cast<double>(kDraws);
    expected_half += 1 / std::pow(static_cast<double>(rank + 1), theta) / zeta_n;
  }
  CHECK(seen_half == Approx(expected_half).epsilon(0.02));
  CHECK(counts.back() > 0);
}

TEST_CASE("zipfian: popular keys are scattered over the range") {
  const auto counts = count_keys(make("zipfian:0.99", 1000));
  std::vector<uint32_t> keys(1000);
  for (uint32_t i = 0; i < 1000; ++i) keys[i] = i;
  std::sort(keys.begin(), keys.end(),
            [&](uint32_t a, uint32_t b) { return counts[a] > counts[b]; });
  uint64_t in_first_half = 0;
  for (size_t i = 0; i < 20; ++i) in_first_half += keys[i] < 500;
  CHECK(in_first_half >= 5);
  CHECK(in_first_half <= 15);
}

TEST_CASE("zeta: the approximation for long sums agrees with the sum") {
  for (const double theta : {0.1, 0.5, 0.99}) {
    double sum = 0;
    for (int i = 1; i <= 100'000; ++i) sum += std::pow(i, -theta);
    CHECK(zeta(100'000, theta) == Approx(sum).epsilon(1e-11));
  }
}

TEST_CASE("scatter is a permutation") {
  for (const uint64_t n : {1U, 2U, 3U, 10U, 1024U, 10'007U, 65'536U}) {
    const Scatter scatter(n);
    std::set<uint32_t> seen;
    for (uint64_t rank = 0; rank < n; ++rank) seen.insert(scatter(rank));
    CHECK(seen.size() == n);
    CHECK(*seen.rbegin() == n - 1);
  }
}

TEST_CASE("hotspot: the fraction of operations goes to the fraction of keys") {
  auto counts = count_keys(make("hotspot:0.1,0.75", 1000));
  std::sort(counts.rbegin(), counts.rend());
  std::vector<double> probability(1000, 0.25 / 900);
  std::fill_n(probability.begin(), 100, 0.75 / 100);
  // Sorting within each of the two groups moves nothing between them: they are far apart.
  uint64_t hot = 0;
  for (size_t i = 0; i < 100; ++i) hot += counts[i];
  CHECK(static_cast<double>(hot) / kDraws == Approx(0.75).margin(0.005));
  CHECK(chi_square(counts, probability) < chi_square_limit(1000));
}

TEST_CASE("latest: reads fall behind the last write, within the client's own share") {
  const Workload workload = make("latest", 1000, 0.5);
  OpStream stream(workload, 3, 1, 4);
  uint64_t writes = 0;
  uint64_t reads = 0;
  uint64_t newest = 0;
  for (uint64_t i = 0; i < 100'000; ++i) {
    const PlannedOp& op = stream.next();
    REQUIRE(op.key_index % 4 == 1);
    const uint64_t place = op.key_index / 4;
    if (op.kind == Kind::put) {
      ++writes;
      REQUIRE(place == writes % 250);
    } else {
      ++reads;
      newest += place == writes % 250;
    }
  }
  CHECK(static_cast<double>(newest) / static_cast<double>(reads) ==
        Approx(1 / zeta(250, 0.99)).epsilon(0.05));
}

TEST_CASE("small key ranges and more clients than keys stay inside the range") {
  for (const char* const name : {"uniform", "zipfian:0.99", "latest", "hotspot:0.5,0.5"}) {
    for (const uint64_t keys : {1U, 2U, 3U}) {
      OpStream stream(make(name, keys, 0.5), 1, 4, 5);
      for (int i = 0; i < 1000; ++i) REQUIRE(stream.next().key_index < keys);
    }
  }
}

TEST_CASE("the read ratio is kept, also at its ends") {
  for (const double ratio : {0.0, 0.05, 0.5, 0.95, 1.0}) {
    OpStream stream(make("uniform", 100, ratio), 11, 0, 1);
    uint64_t gets = 0;
    for (uint64_t i = 0; i < kDraws; ++i) gets += stream.next().kind == Kind::get;
    CHECK(static_cast<double>(gets) / kDraws == Approx(ratio).margin(0.004));
    if (ratio == 0 || ratio == 1) CHECK(gets == (ratio == 0 ? 0 : kDraws));
  }
}

TEST_CASE("a seed reproduces a stream, another gives another") {
  OpStream a(make("uniform", 1U << 20), 5, 0, 1);
  OpStream b(make("uniform", 1U << 20), 5, 0, 1);
  OpStream c(make("uniform", 1U << 20), 6, 0, 1);
  uint64_t same = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint32_t key = a.next().key_index;
    CHECK(key == b.next().key_index);
    same += key == c.next().key_index;
  }
  CHECK(same < 5);
}

TEST_CASE("distributions that mean nothing are refused") {
  for (const char* const text :
       {"", "flat", "uniform:1", "zipfian:0", "zipfian:1", "zipfian:1.2", "zipfian:x", "hotspot",
        "hotspot:0.1", "hotspot:0.1,2", "hotspot:0,0.5", "latest:1"}) {
    CAPTURE(text);
    CHECK_FALSE(Distribution::parse(text));
  }
  CHECK(Distribution::parse("zipfian")->theta == 0.99);
}

TEST_CASE("value lengths") {
  Random random(1);
  const auto one = *ValueSizes::parse("64");
  CHECK(one.draw(random) == 64);
  CHECK(one.bytes_max() == 64);
  CHECK(ValueSizes::parse("4KiB")->bytes_max() == 4096);
  CHECK(ValueSizes::parse("0")->bytes_max() == 0);

  const auto range = *ValueSizes::parse("16-19");
  std::map<uint32_t, uint64_t> seen;
  for (uint64_t i = 0; i < kDraws; ++i) ++seen[range.draw(random)];
  CHECK(seen.size() == 4);
  CHECK(seen.begin()->first == 16);
  CHECK(static_cast<double>(seen[19]) / kDraws == Approx(0.25).margin(0.005));
  CHECK(range.mean_bytes() == 17.5);

  const auto weighted = *ValueSizes::parse("64:8,1024:2");
  seen.clear();
  for (uint64_t i = 0; i < kDraws; ++i) ++seen[weighted.draw(random)];
  CHECK(seen.size() == 2);
  CHECK(static_cast<double>(seen[1024]) / kDraws == Approx(0.2).margin(0.005));
  CHECK(weighted.mean_bytes() == Approx(256));
  CHECK(weighted.bytes_max() == 1024);
}

TEST_CASE("value lengths that mean nothing are refused") {
  for (const char* const text : {"", "x", "9-3", "64:", "64:0", ":1", "64:1,", "64:1,7", "17MiB",
                                 "1-17MiB", "64,128", "-5", "5-"}) {
    CAPTURE(text);
    CHECK_FALSE(ValueSizes::parse(text));
  }
}

TEST_CASE("keys spell their index in hexadecimal, at every length") {
  KeyText eight(8);
  CHECK(eight(0) == "00000000");
  CHECK(eight(0x2a) == "0000002a");
  CHECK(eight(0xfedc'ba98) == "fedcba98");
  KeyText three(3);
  CHECK(three(0xabc) == "abc");
  KeyText twelve(12);
  CHECK(twelve(0x1234'5678) == "000012345678");
  CHECK(twelve(9) == "000000000009");
  Random random(3);
  for (int i = 0; i < 10'000; ++i) {
    const auto index = static_cast<uint32_t>(random.next());
    REQUIRE(eight(index) == fmt::format("{:08x}", index));
    REQUIRE(index_of_digits(hex_digits(index)) == index);
  }
  CHECK(key_digits(1) == 1);
  CHECK(key_digits(16) == 1);
  CHECK(key_digits(17) == 2);
  CHECK(key_digits(1024) == 3);
  CHECK(key_digits(kKeyRangeMax) == 8);
}

TEST_CASE("schedules keep their mean rate and their shape") {
  constexpr int kStarts = 200'000;
  Schedule constant(Arrival::constant, 0.3, 0.5, 1000, 1);
  CHECK(constant.next_ns() == 1000);
  for (int i = 0; i < kStarts; ++i) constant.advance();
  CHECK(constant.next_ns() == 1000 + 60'000);

  Schedule poisson(Arrival::poisson, 500, 0, 0, 1);
  uint64_t last_ns = poisson.next_ns();
  int short_gaps = 0;
  for (int i = 0; i < kStarts; ++i) {
    poisson.advance();
    short_gaps += poisson.next_ns() - last_ns < 50;
    last_ns = poisson.next_ns();
  }
  CHECK(static_cast<double>(last_ns) == Approx(500.0 * kStarts).epsilon(0.01));
  // P(gap < a tenth of the mean) = 1 - exp(-0.1)
  CHECK(short_gaps / static_cast<double>(kStarts) == Approx(0.0952).margin(0.003));
}

}  // namespace copykv::bench
