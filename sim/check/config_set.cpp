// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/random.hpp"
#include "sim/check/search.hpp"

namespace copykv::sim {
namespace {

constexpr size_t kScannedMax = 12;  // beyond that they are found by their hash

}  // namespace

void ConfigSet::clear(size_t mask_words) noexcept {
  words_ = mask_words;
  states_.clear();
  masks_.clear();
  buckets_.clear();
  chain_.clear();
}

bool ConfigSet::is_as_good(size_t index, const KeyState& state, std::span<const uint64_t> mask,
                           std::span<const uint64_t> optional) const noexcept {
  if (!(states_[index] == state)) return false;
  const std::span<const uint64_t> other = this->mask(index);
  for (size_t word = 0; word < words_; ++word) {
    const uint64_t differs = other[word] ^ mask[word];
    if ((differs & ~optional[word]) != 0) return false;                   // other steps stand
    if ((other[word] & ~mask[word] & optional[word]) != 0) return false;  // uses up more
  }
  return true;
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

bool ConfigSet::add(const KeyState& state, std::span<const uint64_t> mask,
                    std::span<const uint64_t> optional) {
  if (states_.size() <= kScannedMax) {
    for (size_t index = 0; index < states_.size(); ++index) {
      if (is_as_good(index, state, mask, optional)) return false;
    }
    states_.push_back(state);
    masks_.insert(masks_.end(), mask.begin(), mask.end());
    return true;
  }
  if (states_.size() > buckets_.size() / 2) index_all(optional);
  const size_t bucket = bucket_of(state, mask, optional);
  for (uint32_t index = buckets_[bucket]; index != kNone; index = chain_[index]) {
    if (is_as_good(index, state, mask, optional)) return false;
  }
  chain_.push_back(buckets_[bucket]);
  buckets_[bucket] = static_cast<uint32_t>(states_.size());
  states_.push_back(state);
  masks_.insert(masks_.end(), mask.begin(), mask.end());
  return true;
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
