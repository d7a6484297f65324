// SPDX-License-Identifier: Apache-2.0
// Takes a fuzzer's bytes apart. When they run out, everything is 0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

namespace copykv::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t bytes) : rest_(data, bytes) {}

  [[nodiscard]] bool empty() const { return rest_.empty(); }
  template <class T>
  [[nodiscard]] T take() {
    T value{};
    const size_t bytes = std::min(sizeof(T), rest_.size());
    if (bytes > 0) std::memcpy(&value, rest_.data(), bytes);
    rest_ = rest_.subspan(bytes);
    return value;
  }
  [[nodiscard]] uint32_t below(uint32_t bound) { return take<uint32_t>() % bound; }
  [[nodiscard]] std::string text(size_t bytes_max) {
    const size_t bytes = std::min(bytes_max, rest_.size());
    std::string taken(reinterpret_cast<const char*>(rest_.data()), bytes);
    rest_ = rest_.subspan(bytes);
    return taken;
  }
  [[nodiscard]] std::span<const uint8_t> rest() const { return rest_; }

 private:
  std::span<const uint8_t> rest_;
};

/// What a fuzz target claims. Ends the process, so that the fuzzer keeps the input.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: does not hold: %s\n", what);
  std::abort();
}

}  // namespace copykv::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes);
