// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/rank_view.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

#include "base/fd.hpp"
#include "base/runtime_paths.hpp"
#include "base/units.hpp"
#include "shm/mapping.hpp"

namespace copykv::tools {
namespace {

// The text behind `name = ` on a line of its own, without quotes.
std::optional<std::string> field(const std::string& text, std::string_view name) {
  std::istringstream lines(text);
  const std::string start = fmt::format("{} = ", name);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(start)) continue;
    std::string value = line.substr(start.size());
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    return value;
  }
  return std::nullopt;
}

Outcome<uint64_t> number(const std::string& text, std::string_view name, uint64_t max) {
  const auto value = field(text, name);
  if (!value) return Failure{fmt::format("there is no line `{} = ...`", name)};
  auto parsed = parse_count(*value, max);
  if (!parsed) return Failure{fmt::format("{}: {}", name, parsed.error)};
  return parsed;
}

// A header that is ours, and as many daemons as the page has room for; else 0.
uint32_t checked_daemon_count(const RankHeader& header, uint64_t page_bytes, uint64_t epoch) {
  const uint32_t daemon_count = peek(header.daemon_count);
  const bool ours = peek(header.magic) == kRankPageMagic && peek(header.abi_major) == kAbiMajor &&
                    peek(header.fingerprint) == layout_fingerprint() && peek(header.epoch) == epoch;
  const bool fits = daemon_count <= kDaemonsMax && page_bytes >= rank_page_bytes(daemon_count);
  return ours && fits ? daemon_count : 0;
}

}  // namespace

Outcome<RankInfo> parse_rank_info(const std::string& text) {
  const auto pid = number(text, "pid", INT32_MAX);
  if (!pid) return Failure{pid.error};
  const auto fd = number(text, "rank_page_fd", INT32_MAX);
  if (!fd) return Failure{fd.error};
  const auto epoch = number(text, "epoch", UINT64_MAX);
  if (!epoch) return Failure{epoch.error};
  return RankInfo{static_cast<uint32_t>(*pid), static_cast<int>(*fd), *epoch,
                  field(text, "socket").value_or("")};
}

Outcome<RankInfo> read_rank_info(const std::string& path) {
  const std::ifstream file(path);
  if (!file) return Failure{fmt::format("{}: {}", path, std::strerror(errno))};
  std::ostringstream text;
  text << file.rdbuf();
  auto info = parse_rank_info(text.str());
  if (!info) return Failure{fmt::format("{}: {}", path, info.error)};
  return info;
}

RankView RankView::open(const Common& common) {
  const auto none = [&](std::string_view why) {
    return Failed(Exit::no_daemon,
                  fmt::format("no copykvd of job {} rank {}: {}; start `copykvd`, or check "
                              "COPYKV_RUNTIME_DIR, COPYKV_JOB and the rank",
                              common.job, common.rank, why));
  };
  const auto dir = job_dir(common.runtime_dir, common.job);
  if (!dir) throw Failed(Exit::usage, dir.error);
  const auto checked = check_job_dir(common.runtime_dir, common.job);
  if (!checked) throw none(checked.error);
  const auto info = read_rank_info(fmt::format("{}/rank{}.info", *dir, common.rank));
  if (!info) throw none(info.error);
  const std::string path = fmt::format("/proc/{}/fd/{}", info->pid, info->rank_page_fd);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat entry {};
  if (!fd || ::fstat(fd.get(), &entry) != 0) {
    throw none(fmt::format("process {} is gone ({}: {})", info->pid, path, std::strerror(errno)));
  }
  const auto page_bytes = static_cast<uint64_t>(entry.st_size);
  if (!S_ISREG(entry.st_mode) || page_bytes < rank_page_bytes(1)) {
    throw none(fmt::format("process {} is another program by now", info->pid));
  }
  auto mapping = map_descriptor(fd.get(), page_bytes, Access::read_only, "rank page");
  if (!mapping) throw Failed(Exit::error, mapping.error);
  const auto* header = static_cast<const RankHeader*>(mapping->get_address());
  const uint32_t daemon_count = checked_daemon_count(*header, page_bytes, info->epoch);
  if (daemon_count == 0) {
    throw Failed(Exit::error, fmt::format("the counters of process {} have another layout; use "
                                          "the copykv of the daemon's release",
                                          info->pid));
  }
  return RankView(*info, std::move(*mapping), daemon_count);
}

Snapshot RankView::take() const {
  Snapshot snapshot;
  const auto* header = static_cast<const RankHeader*>(mapping_.get_address());
  snapshot.header = std::make_unique<RankHeader>();
  copy_from_shared(snapshot.header.get(), header, sizeof(RankHeader));
  snapshot.daemons.resize(daemon_count_);
  for (uint32_t daemon = 0; daemon < daemon_count_; ++daemon) {
    copy_from_shared(&snapshot.daemons[daemon], &daemon_block(*header, daemon),
                     sizeof(DaemonBlock));
  }
  return snapshot;
}

bool RankView::daemon_lives() const noexcept {
  return ::kill(static_cast<pid_t>(info_.pid), 0) == 0 || errno != ESRCH;
}

}  // namespace copykv::tools
