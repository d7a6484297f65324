// SPDX-License-Identifier: Apache-2.0
// The counters of a rank, read without asking it: they are in a memfd of the daemon, which is found
// through <job dir>/rank<r>.info and /proc/<pid>/fd, so a daemon that hangs can still be looked at.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/interprocess/mapped_region.hpp>

#include "base/error.hpp"
#include "shm/rank_page.hpp"
#include "tools/copykv/command.hpp"

namespace copykv::tools {

/// What rank<r>.info says: lines `name = value`.
struct RankInfo {
  uint32_t pid = 0;
  int rank_page_fd = -1;
  uint64_t epoch = 0;
  std::string socket{};
};

/// Fails when a field is missing or no number. `text` is the content of the file.
[[nodiscard]] Outcome<RankInfo> parse_rank_info(const std::string& text);
/// Reads and parses the file at `path`.
[[nodiscard]] Outcome<RankInfo> read_rank_info(const std::string& path);

/// A rank's page at one moment: plain copies, whose counters may be of slightly different moments.
struct Snapshot {
  std::unique_ptr<RankHeader> header;
  std::vector<DaemonBlock> daemons;
};

class RankView {
 public:
  /// Fails with Exit::no_daemon when no living process has the page, with Exit::error when it is of
  /// another release.
  [[nodiscard]] static RankView open(const Common& common);

  [[nodiscard]] Snapshot take() const;
  [[nodiscard]] const RankInfo& info() const noexcept { return info_; }
  /// False once the process is gone; the last counters stay readable.
  [[nodiscard]] bool daemon_lives() const noexcept;

 private:
  RankView(RankInfo info, boost::interprocess::mapped_region mapping, uint32_t daemon_count)
      : info_(std::move(info)), mapping_(std::move(mapping)), daemon_count_(daemon_count) {}

  RankInfo info_;
  boost::interprocess::mapped_region mapping_;
  uint32_t daemon_count_;  // as checked: the page itself is not asked again
};

}  // namespace copykv::tools
