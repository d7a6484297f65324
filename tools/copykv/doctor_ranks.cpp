// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/doctor_ranks.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <future>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include <copykv/client.hpp>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/runtime_paths.hpp"
#include "base/units.hpp"
#include "tools/copykv/rank_view.hpp"

namespace copykv::tools {
namespace {

namespace fs = std::filesystem;

// What a rank keeps in its job's directory, beside its lock, which stays.
constexpr std::string_view kRankFiles[] = {".sock", ".info"};

struct Rank {
  std::string job;
  uint32_t number = 0;
  auto operator<=>(const Rank&) const = default;
};

std::optional<uint32_t> rank_of(std::string_view file_name) {
  if (!file_name.starts_with("rank")) return std::nullopt;
  for (const std::string_view ending : kRankFiles) {
    if (!file_name.ends_with(ending)) continue;
    file_name.remove_suffix(ending.size());
    const auto number = parse_count(file_name.substr(4), UINT32_MAX);
    return number ? std::optional(static_cast<uint32_t>(*number)) : std::nullopt;
  }
  return std::nullopt;
}

std::set<Rank> find_ranks(const std::string& runtime_dir) {
  std::set<Rank> ranks;
  std::error_code ignored;  // what cannot be read has been judged by check_runtime_dir
  for (const auto& job : fs::directory_iterator(runtime_dir, ignored)) {
    if (!job.is_directory(ignored) || job.is_symlink(ignored)) continue;
    for (const auto& file : fs::directory_iterator(job.path(), ignored)) {
      const auto number = rank_of(file.path().filename().native());
      if (number) ranks.insert({job.path().filename().native(), *number});
    }
  }
  return ranks;
}

bool somebody_listens(const std::string& path) {
  const Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int code =
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  // Anything but these two, such as a full backlog, means that there is someone.
  return code == 0 || (errno != ECONNREFUSED && errno != ENOENT);
}

// The daemon of an info file, if its process lives and still holds its counters.
std::optional<uint32_t> living_daemon(const std::string& info_path) {
  const auto info = read_rank_info(info_path);
  if (!info || ::kill(static_cast<pid_t>(info->pid), 0) != 0) return std::nullopt;
  std::error_code error;
  const fs::path link =
      fs::read_symlink(fmt::format("/proc/{}/fd/{}", info->pid, info->rank_page_fd), error);
  if (error || !link.native().starts_with("/memfd:")) return std::nullopt;
  return info->pid;
}

struct Answer {
  bool answered = false;
  std::string text;
};

// Attaches and pings on a thread that is left behind if it does not return: a daemon that hangs is
// a finding, and must not stop the examination.
Answer ask(const Common& common) {
  std::promise<Answer> promise;
  auto answer = promise.get_future();
  std::thread([common, promise = std::move(promise)]() mutable {
    AttachResult attached = Client::attach({.runtime_dir = common.runtime_dir,
                                            .job = common.job,
                                            .rank = common.rank,
                                            .queue_depth = 1});
    if (!attached.client) {
      promise.set_value({false, attached.error});
      return;
    }
    const SystemClock clock;
    const uint64_t begin_ns = clock.now_ns();
    const Result result = attached.client->ping();
    promise.set_value(
        {result.ok(), fmt::format("process {} {} after {}", attached.client->info().daemon_pid,
                                  result.ok() ? "answers" : to_string(result.status),
                                  round_duration(clock.now_ns() - begin_ns))});
  }).detach();
  if (answer.wait_for(std::chrono::nanoseconds(common.timeout_ns)) == std::future_status::ready) {
    return answer.get();
  }
  return {false, fmt::format("no answer within {}", spell_duration(common.timeout_ns))};
}

// Under the rank's lock, so that it cannot be a daemon that starts right now.
Check remove_stale(Check check, const std::string& stem) {
  const Fd lock(::open((stem + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock || ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    check.verdict = Verdict::fail;
    check.remedy = fmt::format("cannot lock {}.lock: {}; a daemon starts or ends, try again", stem,
                               std::strerror(errno));
    return check;
  }
  for (const std::string_view ending : kRankFiles) {
    const std::string path = fmt::format("{}{}", stem, ending);
    std::error_code error;
    fs::remove(path, error);
    if (!error) continue;
    check.verdict = Verdict::fail;
    check.remedy = fmt::format("could not remove {}: {}", path, error.message());
    return check;
  }
  check.verdict = Verdict::ok;
  check.finding += "; removed";
  check.remedy.clear();
  return check;
}

Check check_rank(Common common, const Rank& rank, bool fix) {
  common.job = rank.job;
  common.rank = rank.number;
  Check check{fmt::format("job {} rank {}", rank.job, rank.number), Verdict::ok, {}, {}};
  const std::string stem = fmt::format("{}/{}/rank{}", common.runtime_dir, rank.job, rank.number);
  if (somebody_listens(stem + ".sock")) {
    Answer answer = ask(common);
    check.finding = std::move(answer.text);
    if (!answer.answered) {
      check.verdict = Verdict::fail;
      check.remedy = "`copykv stat` shows whether its turns go on; if not, end it and start anew";
    }
    return check;
  }
  if (const auto pid = living_daemon(stem + ".info")) {
    check.verdict = Verdict::fail;
    check.finding = fmt::format("process {} lives but does not listen at {}.sock", *pid, stem);
    check.remedy = fmt::format("its socket was removed or it hangs in its end; run: kill {}", *pid);
    return check;
  }
  check.verdict = Verdict::warn;
  check.finding = fmt::format("stale files of a dead daemon: {}.*", stem);
  check.remedy = "copykv doctor --fix removes them (a new copykvd replaces them, too)";
  return fix ? remove_stale(std::move(check), stem) : check;
}

}  // namespace

std::vector<Check> check_ranks(const Common& common, bool fix) {
  std::vector<Check> checks;
  for (const Rank& rank : find_ranks(common.runtime_dir)) {
    checks.push_back(check_rank(common, rank, fix));
  }
  if (checks.empty()) {
    checks.push_back({"daemons", Verdict::warn, fmt::format("none in {}", common.runtime_dir),
                      "start one: copykvd --memory 1GiB"});
  }
  return checks;
}

}  // namespace copykv::tools
