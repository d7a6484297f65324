// SPDX-License-Identifier: Apache-2.0
#include "bench/micro/bare_loop.hpp"

#include <array>
#include <bit>

#include "base/clock.hpp"
#include "base/random.hpp"

namespace copykv::bench {
namespace {

constexpr uint32_t kGroup = 16;

}  // namespace

BareLoop::BareLoop(uint32_t key_count, uint32_t queue_depth)
    : key_count_(key_count),
      queue_depth_(queue_depth),
      slots_(queue_depth),
      asked_(queue_depth),
      seqs_(queue_depth) {
  const uint64_t size = std::bit_ceil(uint64_t{key_count} * 3 / 2);
  shift_ = 64 - static_cast<uint32_t>(std::countr_zero(size));
  table_.resize(size);
  for (uint64_t key = 0; key < key_count; ++key) {
    uint64_t place = place_of(key);
    while (table_[place].key != 0) place = (place + 1) & (table_.size() - 1);
    table_[place] = {key + 1, value_of(key)};
  }
}

void BareLoop::serve(const uint32_t& stop) noexcept {
  std::array<Slot*, kGroup> group;
  std::array<uint64_t, kGroup> keys;
  std::array<uint64_t, kGroup> places;
  while (observe(stop) == 0) {
    uint32_t taken = 0;
    const uint64_t group_seq = seq_;
    for (; taken < kGroup; ++taken) {
      Slot& next = slots_[slot_];
      if (observe(next.request.head) != seq_) break;
      group[taken] = &next;
      keys[taken] = peek(next.request.data[0]);
      places[taken] = place_of(keys[taken]);
      prefetch(&table_[places[taken]]);
      if (++slot_ == queue_depth_) {
        slot_ = 0;
        ++seq_;
      }
    }
    uint64_t answer_seq = group_seq;
    for (uint32_t index = 0; index < taken; ++index) {
      uint64_t place = places[index];
      while (table_[place].key != keys[index] + 1) place = (place + 1) & (table_.size() - 1);
      ResponseLine& line = group[index]->response;
      poke(line.data[0], table_[place].value);
      publish(line.head, answer_seq);
      if (group[index] == &slots_.back()) ++answer_seq;
    }
  }
}

double BareLoop::drive(uint64_t duration_ns) noexcept {
  const SystemClock clock;
  Random random(1);
  uint32_t in_flight = 0;
  uint64_t done = 0;
  const uint64_t start_ns = clock.now_ns();
  uint64_t now_ns = start_ns;
  while (now_ns - start_ns < duration_ns || in_flight > 0) {
    const uint32_t depth = now_ns - start_ns < duration_ns ? queue_depth_ : 0;
    for (uint32_t round = 0; round < 4096; ++round) {
      for (; in_flight < depth; ++in_flight) {
        Slot& slot = slots_[head_];
        asked_[head_] = random.below(key_count_);
        poke(slot.request.data[0], asked_[head_]);
        publish(slot.request.head, ++seqs_[head_]);
        head_ = head_ + 1 == queue_depth_ ? 0 : head_ + 1;
      }
      while (in_flight > 0 && observe(slots_[tail_].response.head) == seqs_[tail_]) {
        if (peek(slots_[tail_].response.data[0]) != value_of(asked_[tail_])) return 0;
        tail_ = tail_ + 1 == queue_depth_ ? 0 : tail_ + 1;
        --in_flight;
        ++done;
      }
    }
    now_ns = clock.now_ns();
  }
  return static_cast<double>(done) * 1e9 / static_cast<double>(now_ns - start_ns);
}

}  // namespace copykv::bench
