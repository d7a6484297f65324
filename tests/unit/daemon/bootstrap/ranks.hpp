// SPDX-License-Identifier: Apache-2.0
// Ranks of a job as threads, in a directory or at a port of their own.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "daemon/bootstrap/bootstrap.hpp"

namespace copykv::test {

class TemporaryDir {
 public:
  TemporaryDir() {
    path_ = std::filesystem::temp_directory_path() / "copykv-boot-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~TemporaryDir() { std::filesystem::remove_all(path_); }
  TemporaryDir(const TemporaryDir&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A port of 127.0.0.1 that nobody has.
[[nodiscard]] uint16_t free_port();

/// Takes what was written to stderr while it lives.
class StderrCapture {
 public:
  StderrCapture();
  ~StderrCapture();
  [[nodiscard]] std::string text() const;

 private:
  int saved_;
  int file_;
};

struct Rank {
  BootstrapOptions options{};
  std::unique_ptr<Bootstrap> bootstrap{};
  std::vector<std::string> cards{};
  std::string error{};

  /// Makes it and exchanges the card.
  void join(const std::string& card);
};

[[nodiscard]] std::vector<BootstrapOptions> job_at(const std::string& url, uint32_t ranks,
                                                   uint64_t deadline_ms = 5'000);

/// The card of one life of a rank.
[[nodiscard]] std::string card_of(uint32_t rank, uint32_t life = 0);
[[nodiscard]] std::vector<std::string> cards_of(uint32_t ranks);

enum class Then : uint8_t { stay, end };
/// All of them at one time, each in a thread.
[[nodiscard]] std::vector<Rank> join_all(const std::vector<BootstrapOptions>& all,
                                         Then then = Then::stay);

/// Asks for changes for a rank when it says that there may be some.
class Servant {
 public:
  explicit Servant(Bootstrap& of);
  ~Servant();
  /// What has come so far; waits up to `within_ms` for at least `count`.
  [[nodiscard]] std::vector<Bootstrap::Change> changes(size_t count, uint64_t within_ms = 5'000);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace copykv::test
