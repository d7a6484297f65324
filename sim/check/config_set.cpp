// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/random.hpp"
#include "sim/check/search.hpp"

namespace copykv::sim {
namespace {

constexpr size_t kScannedMax = 12;  // beyond that they are found by their hash

}  // namespace

void ConfigSet::clear(size_t mask_words, size_t width) noexcept {
  words_ = mask_words;
  width_ = width;
  narrowed_ = false;
  states_.clear();
  masks_.clear();
  buckets_.clear();
  chain_.clear();
}

ConfigSet::Likeness ConfigSet::compare(size_t index, const KeyState& state,
                                       std::span<const uint64_t> mask,
                                       std::span<const uint64_t> optional) const noexcept {
  if (!(states_[index] == state)) return Likeness::other;
  const std::span<const uint64_t> there = this->mask(index);
  Likeness likeness = Likeness::as_good;
  for (size_t word = 0; word < words_; ++word) {
    const uint64_t differs = there[word] ^ mask[word];
    if ((differs & ~optional[word]) != 0) return Likeness::other;
    if ((differs & there[word]) != 0)
      likeness = Likeness::rival;  // it has used up what this has not
  }
  return likeness;
}

size_t ConfigSet::bucket_of(const KeyState& state, std::span<const uint64_t> mask,
                            std::span<const uint64_t> optional) const noexcept {
  uint64_t hash = state.value;
  uint64_t mixed = splitmix64(hash) ^ state.version;
  hash = mixed + state.expiry + (uint64_t{static_cast<uint8_t>(state.holds)} << 40) +
         (uint64_t{state.version_told} << 50);
  for (size_t word = 0; word < words_; ++word) {
    mixed = splitmix64(hash);
    hash = mixed ^ (mask[word] & ~optional[word]);
  }
  mixed = splitmix64(hash);
  return mixed & (buckets_.size() - 1);
}

void ConfigSet::index_all(std::span<const uint64_t> optional) {
  buckets_.assign(std::max<size_t>(64, buckets_.size() * 4), kNone);
  chain_.resize(states_.size());
  for (uint32_t index = 0; index < states_.size(); ++index) {
    const size_t bucket = bucket_of(states_[index], mask(index), optional);
    chain_[index] = buckets_[bucket];
    buckets_[bucket] = index;
  }
}

void ConfigSet::append(const KeyState& state, std::span<const uint64_t> mask) {
  states_.push_back(state);
  masks_.insert(masks_.end(), mask.begin(), mask.end());
}

void ConfigSet::add(const KeyState& state, std::span<const uint64_t> mask,
                    std::span<const uint64_t> optional) {
  size_t rivals = 0;
  const auto is_wanted = [&](size_t index) {
    const Likeness likeness = compare(index, state, mask, optional);
    if (likeness == Likeness::rival) ++rivals;
    narrowed_ = narrowed_ || rivals >= width_;
    return likeness != Likeness::as_good && rivals < width_;
  };
  if (states_.size() <= kScannedMax) {
    for (size_t index = 0; index < states_.size(); ++index) {
      if (!is_wanted(index)) return;
    }
    return append(state, mask);
  }
  if (states_.size() > buckets_.size() / 2) index_all(optional);
  const size_t bucket = bucket_of(state, mask, optional);
  for (uint32_t index = buckets_[bucket]; index != kNone; index = chain_[index]) {
    if (!is_wanted(index)) return;
  }
  chain_.push_back(buckets_[bucket]);
  buckets_[bucket] = static_cast<uint32_t>(states_.size());
  append(state, mask);
}

void ConfigSet::keep_if(const std::vector<bool>& keep) {
  size_t kept = 0;
  for (size_t index = 0; index < states_.size(); ++index) {
    if (!keep[index]) continue;
    states_[kept] = states_[index];
    std::copy_n(masks_.begin() + static_cast<ptrdiff_t>(index * words_), words_,
                masks_.begin() + static_cast<ptrdiff_t>(kept * words_));
    ++kept;
  }
  states_.resize(kept);
  masks_.resize(kept * words_);
}

}  // namespace copykv::sim
