// SPDX-License-Identifier: Apache-2.0
#include "bench/workload.hpp"

#include <algorithm>

namespace copykv::bench {
namespace {

constexpr uint64_t kHalfRange = uint64_t{1} << 63;

uint64_t threshold(double ratio) noexcept {
  return ratio >= 1 ? kHalfRange : static_cast<uint64_t>(ratio * static_cast<double>(kHalfRange));
}

uint64_t fraction_of(uint64_t keys, double fraction) noexcept {
  const auto part = static_cast<uint64_t>(static_cast<double>(keys) * fraction);
  return std::clamp<uint64_t>(part, 1, keys);
}

// With more clients than keys some share a key; every share has at least one.
uint64_t share_of(uint64_t keys, uint32_t clients) noexcept {
  return std::max<uint64_t>(1, keys / clients);
}

}  // namespace

OpStream::OpStream(const Workload& workload, uint64_t seed, uint32_t client, uint32_t clients)
    : workload_(workload),
      read_below_(threshold(workload.read_ratio)),
      client_(client),
      share_(share_of(workload.key_range, clients)),
      stride_(clients),
      hot_set_(fraction_of(workload.key_range, workload.distribution.hot_set)),
      zipfian_(
          workload.distribution.kind == Distribution::Kind::latest ? share_ : workload.key_range,
          workload.distribution.theta),
      scatter_(workload.key_range),
      random_(seed) {}

uint32_t OpStream::draw_latest(bool is_write) noexcept {
  if (is_write) ++cursor_;
  const uint64_t back = is_write ? 0 : zipfian_.draw(random_);
  const uint64_t place = (cursor_ + share_ - back) % share_;
  return static_cast<uint32_t>((place * stride_ + client_) % workload_.key_range);
}

template <class DrawKey>
void OpStream::plan(DrawKey&& draw_key) noexcept {
  const Kind write = workload_.modify ? Kind::modify : Kind::put;
  for (PlannedOp& op : batch_) {
    const bool is_write = (random_.next() >> 1) >= read_below_;
    op.kind = is_write ? write : Kind::get;
    op.key_index = draw_key(is_write);
    op.value_bytes = workload_.sizes.draw(random_);
  }
}

void OpStream::refill() noexcept {
  next_ = 0;
  const uint64_t keys = workload_.key_range;
  switch (workload_.distribution.kind) {
    case Distribution::Kind::uniform:
      return plan([&](bool) { return static_cast<uint32_t>(random_.below(keys)); });
    case Distribution::Kind::zipfian:
      return plan([&](bool) { return scatter_(zipfian_.draw(random_)); });
    case Distribution::Kind::latest:
      return plan([&](bool is_write) { return draw_latest(is_write); });
    case Distribution::Kind::hotspot:
      return plan([&](bool) {
        const bool hot = hot_set_ == keys || random_.chance(workload_.distribution.hot_operations);
        return scatter_(hot ? random_.below(hot_set_) : hot_set_ + random_.below(keys - hot_set_));
      });
  }
}

}  // namespace copykv::bench
