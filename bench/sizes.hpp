// SPDX-License-Identifier: Apache-2.0
// How long values are: `64`, `16-4096` (each length equally likely) or `64:8,1024:2` (lengths with
// weights). Lengths take units ("4KiB").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/random.hpp"

namespace copykv::bench {

inline constexpr uint32_t kValueBytesLimit = 16U << 20;

class ValueSizes {
 public:
  [[nodiscard]] static Outcome<ValueSizes> parse(std::string_view text);

  /// Draws nothing when there is only one length.
  [[nodiscard]] uint32_t draw(Random& random) const noexcept {
    if (low_ == high_) return low_;
    if (steps_.empty()) return low_ + static_cast<uint32_t>(random.below(high_ - low_ + 1));
    return draw_weighted(random);
  }

  [[nodiscard]] uint32_t bytes_max() const noexcept { return high_; }
  [[nodiscard]] double mean_bytes() const noexcept;

 private:
  struct Step {
    uint64_t weight_up_to;  ///< sum of the weights of this and all earlier steps
    uint32_t bytes;
  };
  [[nodiscard]] static Outcome<ValueSizes> parse_weighted(std::string_view text);
  [[nodiscard]] uint32_t draw_weighted(Random& random) const noexcept;

  uint32_t low_ = 0;
  uint32_t high_ = 0;
  std::vector<Step> steps_{};  ///< empty: every length in low_..high_
};

}  // namespace copykv::bench
