// SPDX-License-Identifier: Apache-2.0
// When an open loop means to start its operations. The schedule never looks at the answers, so a
// stall of the service cannot thin the load out: what it delays is measured from the meant start
// (coordinated omission is impossible).
#pragma once

#include <cmath>
#include <cstdint>

#include "base/random.hpp"

namespace copykv::bench {

enum class Arrival : uint8_t { closed, constant, poisson };

class Schedule {
 public:
  /// `interval_ns` is the mean distance between two starts of this client, > 0. The first start is
  /// `phase` (0..1) intervals after `origin_ns`: clients of a constant load interleave.
  Schedule(Arrival arrival, double interval_ns, double phase, uint64_t origin_ns,
           uint64_t seed) noexcept
      : arrival_(arrival), interval_ns_(interval_ns), origin_ns_(origin_ns), random_(seed) {
    offset_ns_ = arrival == Arrival::poisson ? draw_gap() : phase * interval_ns;
  }

  [[nodiscard]] uint64_t next_ns() const noexcept {
    return origin_ns_ + static_cast<uint64_t>(offset_ns_);
  }
  void advance() noexcept {
    offset_ns_ += arrival_ == Arrival::poisson ? draw_gap() : interval_ns_;
  }

 private:
  // Exponential gaps; 1 - unit() is never 0.
  [[nodiscard]] double draw_gap() noexcept {
    return -std::log(1.0 - random_.unit()) * interval_ns_;
  }

  Arrival arrival_;
  double interval_ns_;
  uint64_t origin_ns_;
  double offset_ns_ = 0;  ///< a double, so that intervals below a nanosecond do not drift
  Random random_;
};

}  // namespace copykv::bench
