// SPDX-License-Identifier: Apache-2.0
// Results on their way from one process to another: numbers of eight bytes, texts with their
// length in front, histograms by their buckets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/histogram.hpp"

namespace copykv::bench {

class Encoder {
 public:
  Encoder& number(uint64_t value) {
    bytes_.number(value);
    return *this;
  }
  Encoder& string(std::string_view value) {
    bytes_.number<uint64_t>(value.size()).raw(value);
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
  [[nodiscard]] std::string take() noexcept { return bytes_.take(); }

 private:
  ByteWriter bytes_;
};

/// After a short read every further number is 0, and cut() says so.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : rest_(bytes) {}
  uint64_t number() { return rest_.number<uint64_t>(); }
  std::string string() {
    const uint64_t bytes = number();
    return std::string(rest_.raw(bytes));
  }
  void histogram(Histogram& into) {
    const uint64_t buckets = number();
    for (uint64_t i = 0; i < buckets && !cut(); ++i) {
      const uint64_t upper_ns = number();
      into.add_bucket(upper_ns, number());
    }
    const uint64_t sum_ns = number();
    into.add_totals(sum_ns, number());
  }
  [[nodiscard]] bool cut() const noexcept { return !rest_.whole(); }

 private:
  ByteReader rest_;
};

}  // namespace copykv::bench
