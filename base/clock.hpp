// SPDX-License-Identifier: Apache-2.0
// Time as a parameter. Everything that decides by time takes a Clock&, so that the same code runs
// in production and under virtual time.
#pragma once

#include <cstdint>
#include <ctime>

namespace copykv {

inline constexpr uint64_t kNanosPerMicro = 1'000;
inline constexpr uint64_t kNanosPerMilli = 1'000'000;
inline constexpr uint64_t kNanosPerSecond = 1'000'000'000;

/// Nanoseconds that never go backwards. The origin is arbitrary. Implementations are thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual uint64_t now_ns() const noexcept = 0;
};

/// CLOCK_MONOTONIC of this machine: the same in every process.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] uint64_t now_ns() const noexcept override {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * kNanosPerSecond + static_cast<uint64_t>(now.tv_nsec);
  }
};

inline const SystemClock kSystemClock{};

/// Time that moves only when told to. Not thread-safe.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(uint64_t start_ns = 0) noexcept : now_ns_(start_ns) {}
  [[nodiscard]] uint64_t now_ns() const noexcept override { return now_ns_; }
  void advance_ns(uint64_t by_ns) noexcept { now_ns_ += by_ns; }

 private:
  uint64_t now_ns_;
};

}  // namespace copykv
