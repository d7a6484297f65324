// SPDX-License-Identifier: Apache-2.0
#include "bench/order.hpp"

#include <fstream>

#include "base/clock.hpp"
#include "bench/codec.hpp"

namespace copykv::bench {
namespace {

// Containers may have one boot and clocks with different origins: a start further away than any
// lead and any delay is of another clock.
constexpr uint64_t kOneClockNs = 60 * kNanosPerSecond;

}  // namespace

std::string Order::pack() const {
  Encoder out;
  out.number(run).number(start_ns).number(duration_ns).string(boot);
  return out.take();
}

std::optional<Order> Order::unpack(std::string_view bytes) {
  Decoder in(bytes);
  Order order;
  order.run = in.number() != 0;
  order.start_ns = in.number();
  order.duration_ns = in.number();
  order.boot = in.string();
  if (in.cut()) return std::nullopt;
  return order;
}

std::string boot_id() {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id;
}

uint64_t start_of(const Order& order, std::string_view own_boot, uint64_t now_ns,
                  uint64_t lead_ns) noexcept {
  const uint64_t apart_ns =
      order.start_ns > now_ns ? order.start_ns - now_ns : now_ns - order.start_ns;
  const bool one_clock = !order.boot.empty() && order.boot == own_boot && apart_ns < kOneClockNs;
  return one_clock ? order.start_ns : now_ns + lead_ns;
}

}  // namespace copykv::bench
