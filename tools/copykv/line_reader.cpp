// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/line_reader.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace copykv::tools {
namespace {

constexpr size_t kReadBytes = 1 << 18;

}  // namespace

Outcome<LineReader> LineReader::open(const std::string& path, uint64_t line_bytes_max) {
  const bool is_stdin = path == "-";
  LineReader reader;
  reader.name_ = is_stdin ? "stdin" : path;
  reader.line_bytes_max_ = line_bytes_max;
  reader.fd_ = Fd(is_stdin ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                           : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!reader.fd_) {
    return Failure{fmt::format("cannot read {}: {}", reader.name_, std::strerror(errno))};
  }
  return reader;
}

std::string LineReader::place() const {
  return fmt::format("{}:{}", name_, line_number_);
}

Outcome<std::string_view> LineReader::next() {
  size_t searched = begin_;
  for (;;) {
    const size_t end = buffer_.find('\n', searched);
    const bool last = end == std::string::npos && at_end_;
    if (last && begin_ == buffer_.size()) return std::string_view();
    if (end != std::string::npos || last) {
      const std::string_view line(buffer_.data() + begin_, (last ? buffer_.size() : end) - begin_);
      begin_ += line.size() + (last ? 0 : 1);
      ++line_number_;
      return line;
    }
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    if (buffer_.size() > line_bytes_max_) {
      ++line_number_;
      return Failure{
          fmt::format("the line is longer than {} B, more than any record of this "
                      "daemon; one JSON object a line is expected",
                      line_bytes_max_)};
    }
    buffer_.resize(searched + kReadBytes);
    ssize_t got;
    do {
      got = ::read(fd_.get(), buffer_.data() + searched, kReadBytes);
    } while (got < 0 && errno == EINTR);
    buffer_.resize(searched + static_cast<size_t>(got > 0 ? got : 0));
    if (got < 0) return Failure{fmt::format("cannot read {}: {}", name_, std::strerror(errno))};
    at_end_ = got == 0;
  }
}

}  // namespace copykv::tools
