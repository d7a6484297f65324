// SPDX-License-Identifier: Apache-2.0
// No service at all: every operation is answered at the next look, from an array in this process.
// `benchkv --backend null` shows what the load generator itself can do, which bounds every figure
// it can honestly report.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include <copykv/client.hpp>

#include "bench/keys.hpp"
#include "bench/values.hpp"
#include "bench/workload.hpp"
#include "shm/slot.hpp"

namespace copykv::bench {

class NullBackend {
 public:
  explicit NullBackend(const Workload& workload)
      : value_bytes_max_(workload.sizes.bytes_max()),
        values_(workload.key_range * value_bytes_max_),
        lengths_(workload.key_range, static_cast<uint32_t>(value_bytes_max_)) {
    // Full from the start: other clients' parts of the keys are never put here.
    for (uint64_t index = 0; index < workload.key_range; ++index) {
      fill_value({at(index), value_bytes_max_}, static_cast<uint32_t>(index), {});
    }
  }

  Status submit_get(std::string_view key, uint64_t tag) noexcept {
    const uint64_t index = index_of(key);
    answers_[in_flight_++] = {tag, {Status::ok, 0, 1, {at(index), lengths_[index]}}};
    return Status::ok;
  }
  Status submit_put(std::string_view key, std::string_view value, uint64_t tag) noexcept {
    const uint64_t index = index_of(key);
    std::memcpy(at(index), value.data(), value.size());
    lengths_[index] = static_cast<uint32_t>(value.size());
    answers_[in_flight_++] = {tag, {Status::ok}};
    return Status::ok;
  }
  size_t poll(std::span<Completion> completions) noexcept {
    const size_t taken = std::min(in_flight_, completions.size());
    std::copy_n(answers_.begin(), taken, completions.begin());
    std::copy(answers_.begin() + taken, answers_.begin() + in_flight_, answers_.begin());
    in_flight_ -= taken;
    return taken;
  }
  size_t wait(std::span<Completion> completions, uint64_t /*timeout_ms*/) noexcept {
    return poll(completions);
  }
  [[nodiscard]] size_t in_flight() const noexcept { return in_flight_; }

 private:
  [[nodiscard]] char* at(uint64_t index) noexcept {
    return values_.data() + index * value_bytes_max_;
  }
  [[nodiscard]] static uint64_t index_of(std::string_view key) noexcept {
    uint64_t digits = '0' * 0x0101'0101'0101'0101ULL;
    const size_t used = std::min(sizeof(digits), key.size());
    if (used == sizeof(digits)) [[likely]] {
      std::memcpy(&digits, key.data() + key.size() - sizeof(digits), sizeof(digits));
    } else {
      std::memcpy(reinterpret_cast<char*>(&digits) + sizeof(digits) - used, key.data(), used);
    }
    return index_of_digits(digits);
  }

  uint64_t value_bytes_max_;
  std::vector<char> values_;
  std::vector<uint32_t> lengths_;
  std::array<Completion, kQueueDepthMax> answers_{};
  size_t in_flight_ = 0;
};

}  // namespace copykv::bench
