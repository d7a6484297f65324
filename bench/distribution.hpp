// SPDX-License-Identifier: Apache-2.0
// Which keys are asked for.
//   uniform          every key equally likely
//   zipfian:THETA    key of popularity rank r with probability ~ 1/(r+1)^THETA, 0 < THETA < 1
//                    (Gray et al., SIGMOD 1994, as in YCSB); ranks are scattered over the key range
//   latest           writes walk the client's share of the key range round and round; reads fall
//                    zipfian:0.99 behind the place of the last write
//   hotspot:SET,OPS  the fraction OPS of the operations goes to the fraction SET of the keys
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/error.hpp"
#include "base/random.hpp"

namespace copykv::bench {

struct Distribution {
  enum class Kind : uint8_t { uniform, zipfian, latest, hotspot };
  Kind kind = Kind::uniform;
  double theta = 0.99;          ///< zipfian, latest
  double hot_set = 0.2;         ///< hotspot: fraction of the keys
  double hot_operations = 0.8;  ///< hotspot: fraction of the operations

  [[nodiscard]] static Outcome<Distribution> parse(std::string_view text);
};

/// sum of 1/i^theta for i = 1..n; exact up to 1,000 terms, Euler-Maclaurin (1e-12) beyond.
[[nodiscard]] double zeta(uint64_t n, double theta) noexcept;

/// Popularity ranks 0 (most popular) .. n-1.
class Zipfian {
 public:
  Zipfian(uint64_t n, double theta) noexcept;

  [[nodiscard]] uint64_t draw(Random& random) const noexcept {
    const double u = random.unit();
    const double uz = u * zeta_n_;
    if (uz < 1.0) return 0;
    if (uz < zeta_2_) return 1;
    const auto rank =
        static_cast<uint64_t>(static_cast<double>(n_) * std::pow(eta_ * u - eta_ + 1.0, alpha_));
    return rank < n_ ? rank : n_ - 1;
  }

 private:
  uint64_t n_;
  double zeta_n_;
  double zeta_2_;
  double alpha_;
  double eta_;
};

/// A permutation of 0..n-1 that keeps popular ranks apart: no two ranks fall onto one key, so the
/// frequencies stay those of the distribution (hashing modulo n would merge some).
class Scatter {
 public:
  explicit Scatter(uint64_t n) noexcept;
  [[nodiscard]] uint32_t operator()(uint64_t rank) const noexcept {
    return static_cast<uint32_t>(rank * stride_ % n_);
  }

 private:
  uint64_t n_;
  uint64_t stride_;
};

/// Draws keys 0..n-1 by a distribution other than `latest`.
class KeyDraw {
 public:
  KeyDraw(const Distribution& distribution, uint64_t n) noexcept;

  [[nodiscard]] uint64_t operator()(Random& random) const noexcept {
    switch (kind_) {
      case Distribution::Kind::uniform:
      case Distribution::Kind::latest:
        return random.below(n_);
      case Distribution::Kind::zipfian:
        return scatter_(zipfian_.draw(random));
      case Distribution::Kind::hotspot:
        break;
    }
    const bool hot = hot_set_ == n_ || random.chance(hot_operations_);
    return scatter_(hot ? random.below(hot_set_) : hot_set_ + random.below(n_ - hot_set_));
  }

 private:
  Distribution::Kind kind_;
  uint64_t n_;
  uint64_t hot_set_;  ///< number of hot keys
  double hot_operations_;
  Zipfian zipfian_;
  Scatter scatter_;
};

}  // namespace copykv::bench
