// SPDX-License-Identifier: Apache-2.0
// Results on their way from one process to another: numbers of eight bytes (the sender's order: all
// ranks of a job have one), texts with their length in front, histograms by their buckets.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/histogram.hpp"

namespace copykv::bench {

class Encoder {
 public:
  Encoder& number(uint64_t value) {
    char bytes[sizeof(value)];
    std::memcpy(bytes, &value, sizeof(value));
    text.append(bytes, sizeof(bytes));
    return *this;
  }
  Encoder& string(std::string_view value) {
    number(value.size());
    text.append(value);
    return *this;
  }
  Encoder& histogram(const Histogram& from) {
    uint64_t buckets = 0;
    from.for_each_bucket([&](uint64_t, uint64_t) { ++buckets; });
    number(buckets);
    from.for_each_bucket([&](uint64_t upper_ns, uint64_t times) {
      number(upper_ns);
      number(times);
    });
    return number(from.sum_ns()).number(from.max_ns());
  }
  std::string text{};
};

/// After a short read every further number is 0 and `cut` stays true.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : rest_(bytes) {}
  uint64_t number() {
    uint64_t value = 0;
    cut = cut || rest_.size() < sizeof(value);
    if (cut) return 0;
    std::memcpy(&value, rest_.data(), sizeof(value));
    rest_.remove_prefix(sizeof(value));
    return value;
  }
  std::string string() {
    const uint64_t bytes = number();
    cut = cut || rest_.size() < bytes;
    if (cut) return {};
    std::string value(rest_.substr(0, bytes));
    rest_.remove_prefix(bytes);
    return value;
  }
  void histogram(Histogram& into) {
    const uint64_t buckets = number();
    for (uint64_t i = 0; i < buckets && !cut; ++i) {
      const uint64_t upper_ns = number();
      into.add_bucket(upper_ns, number());
    }
    const uint64_t sum_ns = number();
    into.add_totals(sum_ns, number());
  }
  bool cut = false;

 private:
  std::string_view rest_;
};

}  // namespace copykv::bench
