// SPDX-License-Identifier: Apache-2.0
// Little-endian bytes of files and messages, one field after the other.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace copykv {

class ByteWriter {
 public:
  template <std::unsigned_integral T>
  ByteWriter& number(T value) {
    for (size_t byte = 0; byte < sizeof(T); ++byte) {
      bytes_.push_back(static_cast<char>(static_cast<uint8_t>(value >> (8 * byte))));
    }
    return *this;
  }
  ByteWriter& raw(std::string_view text) {
    bytes_.append(text);
    return *this;
  }
  /// Four bytes of length, then the text.
  ByteWriter& text(std::string_view text) {
    return number(static_cast<uint32_t>(text.size())).raw(text);
  }
  [[nodiscard]] const std::string& bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::string take() noexcept { return std::move(bytes_); }

 private:
  std::string bytes_{};
};

/// Reads input: past its end everything is 0 and empty, and whole() says so.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) noexcept : rest_(bytes) {}

  template <std::unsigned_integral T>
  [[nodiscard]] T number() noexcept {
    T value = 0;
    const std::string_view from = raw(sizeof(T));
    for (size_t byte = 0; byte < from.size(); ++byte) {
      value =
          static_cast<T>(value | static_cast<T>(T{static_cast<uint8_t>(from[byte])} << (8 * byte)));
    }
    return value;
  }
  [[nodiscard]] std::string_view raw(size_t bytes) noexcept {
    if (bytes > rest_.size()) {
      overrun_ = true;
      rest_ = {};
      return {};
    }
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }
  [[nodiscard]] std::string_view text(uint32_t bytes_max) noexcept {
    const uint32_t bytes = number<uint32_t>();
    if (bytes > bytes_max) overrun_ = true;
    return raw(overrun_ ? rest_.size() + 1 : bytes);
  }
  [[nodiscard]] size_t left() const noexcept { return rest_.size(); }
  /// Everything that was asked for was there.
  [[nodiscard]] bool whole() const noexcept { return !overrun_; }
  /// ... and nothing else.
  [[nodiscard]] bool done() const noexcept { return !overrun_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool overrun_ = false;
};

}  // namespace copykv
