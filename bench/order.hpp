// SPDX-License-Identifier: Apache-2.0
// What rank 0 announces to the others: a run and when it starts, or the end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace copykv::bench {

struct Order {
  bool run = false;       ///< false: end
  uint64_t start_ns = 0;  ///< by the clock of the machine whose boot is `boot`
  uint64_t duration_ns = 0;
  std::string boot{};

  [[nodiscard]] std::string pack() const;
  [[nodiscard]] static std::optional<Order> unpack(std::string_view bytes);
};

/// Names this machine and its clock: two processes with one boot share CLOCK_MONOTONIC.
[[nodiscard]] std::string boot_id();

/// When a rank starts what was ordered: at the same moment as rank 0 where the clock is shared,
/// else `lead_ns` from now, which is later by the time that the order took to arrive.
[[nodiscard]] uint64_t start_of(const Order& order, std::string_view own_boot, uint64_t now_ns,
                                uint64_t lead_ns) noexcept;

}  // namespace copykv::bench
