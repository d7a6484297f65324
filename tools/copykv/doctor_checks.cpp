// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/doctor_checks.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/fd.hpp"
#include "base/membarrier.hpp"
#include "base/runtime_paths.hpp"
#include "base/units.hpp"
#include "shm/mapping.hpp"
#include "shm/segment.hpp"

namespace copykv::tools {
namespace {

constexpr uint64_t kUnlimited = UINT64_MAX;  // RLIM_INFINITY
constexpr uint64_t kLockedBytesWanted = uint64_t{1} << 30;
constexpr uint64_t kOpenFilesNeeded = 256;
constexpr uint64_t kOpenFilesWanted = 4096;
constexpr uint64_t kMemoryBytesNeeded = uint64_t{64} << 20;
constexpr uint64_t kMemoryBytesWanted = uint64_t{1} << 30;

std::string limit_text(uint64_t limit, std::string (*format)(uint64_t)) {
  return limit == kUnlimited ? "unlimited" : format(limit);
}

std::optional<uint64_t> number_in(const std::string& path) {
  std::string text = read_text(path);
  text.erase(text.find_last_not_of(" \n") + 1);
  const auto number = parse_count(text);  // "max" is no number: no limit
  return number ? std::optional(*number) : std::nullopt;
}

// What one cgroup directory leaves; v1 writes "no limit" as a number near 2^63.
std::optional<uint64_t> left_in(const std::string& dir, const char* limit, const char* usage) {
  constexpr uint64_t kNoLimitV1 = uint64_t{1} << 60;
  const auto max = number_in(dir + limit);
  if (!max || *max >= kNoLimitV1) return std::nullopt;
  const uint64_t used = number_in(dir + usage).value_or(0);
  return *max - std::min(*max, used);
}

void take_least(std::optional<uint64_t>& least, std::optional<uint64_t> other) {
  if (other && (!least || *other < *least)) least = other;
}

}  // namespace

std::string read_text(const std::string& path) {
  const std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return file ? text.str() : std::string();
}

Check check_cores(uint32_t online, uint32_t allowed) {
  std::string finding = fmt::format("{} of {} usable", allowed, online);
  if (allowed >= 2) return {"cores", Verdict::ok, std::move(finding)};
  return {"cores", Verdict::warn, std::move(finding),
          "daemon and clients share one core: use --wait park, or allow more (taskset, cpuset)"};
}

Check check_locked_memory(uint64_t limit_bytes) {
  std::string finding = limit_text(limit_bytes, format_bytes);
  if (limit_bytes >= kLockedBytesWanted) {
    return {"locked memory", Verdict::ok, std::move(finding)};
  }
  return {"locked memory", Verdict::warn, std::move(finding),
          "enough for one machine; for RDMA run: ulimit -l unlimited (or LimitMEMLOCK=infinity)"};
}

Check check_open_files(uint64_t soft_limit, uint64_t hard_limit) {
  std::string finding = limit_text(soft_limit, format_count);
  if (soft_limit >= kOpenFilesWanted) return {"open files", Verdict::ok, std::move(finding)};
  const Verdict verdict = soft_limit < kOpenFilesNeeded ? Verdict::fail : Verdict::warn;
  const uint64_t reachable = std::min(hard_limit, kOpenFilesWanted);
  return {"open files", verdict, std::move(finding),
          reachable > soft_limit
              ? fmt::format("each client takes some in the daemon; run: ulimit -n {}", reachable)
              : std::string("each client takes some in the daemon; raise the hard limit "
                            "(limits.conf, LimitNOFILE=)")};
}

Check check_huge_pages(std::string_view shmem_enabled, uint64_t reserved_pages) {
  const auto open = shmem_enabled.find('[');
  const auto close = shmem_enabled.find(']');
  std::string_view mode = "not offered by this kernel";
  if (open != std::string_view::npos && close != std::string_view::npos && close > open) {
    mode = shmem_enabled.substr(open + 1, close - open - 1);
  }
  std::string finding =
      fmt::format("transparent for shared memory: {}; reserved: {}", mode, reserved_pages);
  const bool granted = mode == "always" || mode == "within_size" || mode == "advise";
  if (granted || mode == "force" || reserved_pages > 0) {
    return {"huge pages", Verdict::ok, std::move(finding)};
  }
  return {"huge pages", Verdict::warn, std::move(finding),
          "large maps are slower in 4 KiB pages; as root: echo advise > "
          "/sys/kernel/mm/transparent_hugepage/shmem_enabled"};
}

Check check_memory(uint64_t available_bytes, std::optional<uint64_t> cgroup_bytes) {
  const uint64_t usable = std::min(available_bytes, cgroup_bytes.value_or(kUnlimited));
  std::string finding = fmt::format(
      "{} available, {}", round_bytes(available_bytes),
      cgroup_bytes ? "the cgroup's limit leaves " + round_bytes(*cgroup_bytes) : "no cgroup limit");
  if (usable >= kMemoryBytesWanted) return {"memory", Verdict::ok, std::move(finding)};
  const Verdict verdict = usable < kMemoryBytesNeeded ? Verdict::fail : Verdict::warn;
  return {"memory", verdict, std::move(finding),
          fmt::format("start copykvd with --memory below {}, or free memory", round_bytes(usable))};
}

Check check_memfd() {
  const auto failed = [](std::string finding) {
    return Check{"memfd", Verdict::fail, std::move(finding),
                 "copykv needs Linux 5.1 and a seccomp profile that allows memfd_create and "
                 "F_ADD_SEALS"};
  };
  const auto memfd = make_memfd("copykv-doctor", kPageBytes);
  if (!memfd) return failed(memfd.error);
  if (::fallocate(memfd->get(), 0, 0, kPageBytes) != 0) {
    return failed(fmt::format("fallocate: {}", std::strerror(errno)));
  }
  if (::fcntl(memfd->get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE) != 0) {
    return failed(fmt::format("sealing: {}", std::strerror(errno)));
  }
  return {"memfd", Verdict::ok, "can be made, filled and sealed"};
}

Check check_membarrier() {
  if (register_global_membarrier() && global_membarrier()) {
    return {"membarrier", Verdict::ok, "available: no fence per operation"};
  }
  return {"membarrier", Verdict::warn, "not available: each operation pays a fence (some ns)",
          "allow membarrier(2) in the seccomp profile; Linux 4.16 or later has it"};
}

Check check_runtime_dir(const std::string& runtime_dir, const std::string& job) {
  const auto dir = job_dir(runtime_dir, job);
  if (!dir) return {"runtime directory", Verdict::fail, dir.error, "choose another --job"};
  struct stat entry {};
  if (::lstat(dir->c_str(), &entry) != 0 && errno == ENOENT) {
    return {"runtime directory", Verdict::ok,
            fmt::format("{} is not there yet; copykvd will make it", *dir)};
  }
  const auto checked = check_job_dir(runtime_dir, job);
  if (!checked) {
    // The line of the check ends in its remedy: "...; run: chmod 700 ...".
    const auto cut = checked.error.rfind("; ");
    const bool has_remedy = cut != std::string::npos;
    return {"runtime directory", Verdict::fail, checked.error.substr(0, cut),
            has_remedy ? checked.error.substr(cut + 2)
                       : "set COPYKV_RUNTIME_DIR to a directory of your own"};
  }
  const auto socket = socket_path(runtime_dir, job, 0);
  if (!socket) {
    return {"runtime directory", Verdict::fail, socket.error, "set a shorter COPYKV_RUNTIME_DIR"};
  }
  return {"runtime directory", Verdict::ok, fmt::format("{} (yours, closed to others)", *dir)};
}

Check check_dev_shm() {
  return {"/dev/shm", Verdict::ok, "not used: shared memory is in memfds, its size is no limit"};
}

std::optional<uint64_t> cgroup_memory_left(const std::string& cgroups, const std::string& mount) {
  std::optional<uint64_t> least;
  std::istringstream lines(cgroups);
  for (std::string line; std::getline(lines, line);) {
    // hierarchy:controllers:path
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v1 = fmt::format(",{},", controllers).find(",memory,") != std::string::npos;
    if (!v1 && !controllers.empty()) continue;
    const std::string base = v1 ? mount + "/memory" : mount;
    // In a container the path may be that of the host, and only the mount itself be there.
    std::string path = line.substr(second + 1);
    for (;; path.erase(path.rfind('/'))) {
      if (path.ends_with('/')) path.pop_back();
      const std::string dir = base + path;
      take_least(least, v1 ? left_in(dir, "/memory.limit_in_bytes", "/memory.usage_in_bytes")
                           : left_in(dir, "/memory.max", "/memory.current"));
      if (path.empty()) break;
    }
  }
  return least;
}

}  // namespace copykv::tools
