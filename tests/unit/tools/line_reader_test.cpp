// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/line_reader.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <vector>

#include <catch2/catch.hpp>

using namespace copykv;
using namespace copykv::tools;

namespace {

// A file with this content, gone at the end of the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content) {
    const Fd fd(::mkstemp(path_.data()));
    REQUIRE(::write(fd.get(), content.data(), content.size()) ==
            static_cast<ssize_t>(content.size()));
  }
  ~TemporaryFile() { ::unlink(path_.c_str()); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/copykv-line-reader-XXXXXX";
};

std::vector<std::string> lines_of(const std::string& content) {
  const TemporaryFile file(content);
  auto reader = LineReader::open(file.path(), 1 << 20);
  REQUIRE(reader);
  std::vector<std::string> lines;
  for (;;) {
    const auto line = reader->next();
    REQUIRE(line);
    if (line->data() == nullptr) return lines;
    lines.emplace_back(*line);
    CHECK(reader->place() == file.path() + ":" + std::to_string(lines.size()));
  }
}

}  // namespace

TEST_CASE("lines are split at newlines, the last one may lack it", "[line_reader]") {
  using Lines = std::vector<std::string>;
  CHECK(lines_of("").empty());
  CHECK(lines_of("\n") == Lines{""});
  CHECK(lines_of("a") == Lines{"a"});
  CHECK(lines_of("a\n") == Lines{"a"});
  CHECK(lines_of("a\n\nb") == Lines{"a", "", "b"});
  CHECK(lines_of("a\n\n") == Lines{"a", ""});
  CHECK(lines_of(std::string("\0\r\n", 3)) == Lines{std::string("\0\r", 2)});
}

TEST_CASE("lines longer than one read come in one piece", "[line_reader]") {
  for (const size_t bytes : {262'143U, 262'144U, 262'145U, 700'000U}) {
    const std::string line(bytes, 'x');
    const auto lines = lines_of("a\n" + line + "\nb\n");
    REQUIRE(lines.size() == 3);
    CHECK(lines[1] == line);
    CHECK(lines[2] == "b");
  }
}

TEST_CASE("a line without an end is an error with its place", "[line_reader]") {
  const TemporaryFile file("short\n" + std::string(1 << 20, 'x'));
  auto reader = LineReader::open(file.path(), 1000);
  REQUIRE(reader);
  REQUIRE(*reader->next() == "short");
  const auto line = reader->next();
  CHECK_FALSE(line);
  CHECK_THAT(line.error, Catch::Contains("longer than 1000 B"));
  CHECK(reader->place() == file.path() + ":2");
}

TEST_CASE("a file that is not there is an error", "[line_reader]") {
  const auto reader = LineReader::open("/nonexistent/file", 1000);
  CHECK_FALSE(reader);
  CHECK_THAT(reader.error, Catch::Contains("/nonexistent/file"));
  auto directory = LineReader::open("/tmp", 1000);
  REQUIRE(directory);
  CHECK_FALSE(directory->next());
}
