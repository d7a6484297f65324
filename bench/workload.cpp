// SPDX-License-Identifier: Apache-2.0
#include "bench/workload.hpp"

#include <algorithm>

namespace copykv::bench {
namespace {

constexpr uint64_t kHalfRange = uint64_t{1} << 63;

uint64_t threshold(double ratio) noexcept {
  return ratio >= 1 ? kHalfRange : static_cast<uint64_t>(ratio * static_cast<double>(kHalfRange));
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
      share_(share_of(workload.keys(), clients)),
      stride_(clients),
      latest_(share_, workload.distribution.theta),
      all_(workload.distribution, workload.keys()),
      own_(workload.distribution, workload.key_range),
      others_(workload.distribution, workload.key_range * std::max(1U, workload.ranks - 1)),
      random_(seed) {}

uint64_t OpStream::draw_latest(bool is_write) noexcept {
  if (is_write) ++cursor_;
  const uint64_t back = is_write ? 0 : latest_.draw(random_);
  const uint64_t place = (cursor_ + share_ - back) % share_;
  return (place * stride_ + client_) % workload_.keys();
}

uint64_t OpStream::draw_by_ratio() noexcept {
  const uint64_t own_begin = workload_.rank * workload_.key_range;
  if (workload_.ranks == 1 || random_.chance(workload_.local_ratio)) {
    return own_begin + own_(random_);
  }
  const uint64_t place = others_(random_);  // numbered as if the own rank were not there
  return place < own_begin ? place : place + workload_.key_range;
}

template <class DrawPlace>
void OpStream::plan(DrawPlace&& draw_place) noexcept {
  const Kind write = workload_.modify ? Kind::modify : Kind::put;
  for (PlannedOp& op : batch_) {
    const bool is_write = read_below_ < kHalfRange && (random_.next() >> 1) >= read_below_;
    op.kind = is_write ? write : Kind::get;
    const uint64_t place = draw_place(is_write);
    op.key_index = workload_.number_of(place);
    op.remote = workload_.is_remote(place);
    op.value_bytes = workload_.sizes.draw(random_);
  }
}

void OpStream::refill() noexcept {
  next_ = 0;
  if (workload_.distribution.kind == Distribution::Kind::latest) {
    return plan([&](bool is_write) { return draw_latest(is_write); });
  }
  if (workload_.local_ratio < 0) return plan([&](bool) { return all_(random_); });
  plan([&](bool) { return draw_by_ratio(); });
}

}  // namespace copykv::bench
