// SPDX-License-Identifier: Apache-2.0
// Lines of a file or of stdin, with a limit on their length: a file without line ends is an error,
// not a process without memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace copykv::tools {

class LineReader {
 public:
  /// `path` "-" is stdin. Lines have at most `line_bytes_max` bytes.
  [[nodiscard]] static Outcome<LineReader> open(const std::string& path, uint64_t line_bytes_max);

  /// The next line without its newline, valid until the next call; its `data()` is null at the end
  /// of the file. Fails on a read error and on a line that is too long.
  [[nodiscard]] Outcome<std::string_view> next();

  /// "FILE:LINE" of the line that next returned last.
  [[nodiscard]] std::string place() const;
  [[nodiscard]] uint64_t line_number() const noexcept { return line_number_; }

 private:
  LineReader() = default;

  std::string name_{};
  Fd fd_{};
  uint64_t line_bytes_max_ = 0;
  uint64_t line_number_ = 0;
  std::string buffer_{};
  size_t begin_ = 0;  // of the next line in buffer_
  bool at_end_ = false;
};

}  // namespace copykv::tools
