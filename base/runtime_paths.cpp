// SPDX-License-Identifier: Apache-2.0
#include "base/runtime_paths.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace copykv {
namespace {

std::string_view environment(const char* name) noexcept {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

bool is_job_name_char(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

using Entry = struct stat;

Outcome<Entry> directory_at(const std::string& path) {
  Entry entry{};
  if (lstat(path.c_str(), &entry) != 0) {
    return Failure{fmt::format("{}: {}", path, std::strerror(errno))};
  }
  if (!S_ISDIR(entry.st_mode)) {
    return Failure{fmt::format("{} is not a directory; remove it or set COPYKV_RUNTIME_DIR", path)};
  }
  return entry;
}

// Whoever may rename entries of the parent could put a directory of his own in the job's place.
Outcome<void> check_parent(const std::string& path) {
  auto entry = directory_at(path);
  if (!entry) return Failure{entry.error};
  const bool trusted_owner = entry->st_uid == geteuid() || entry->st_uid == 0;
  const bool others_write = (entry->st_mode & 0022) != 0 && (entry->st_mode & S_ISVTX) == 0;
  if (trusted_owner && !others_write) return {};
  return Failure{
      fmt::format("{} (user {}, mode {:04o}) can be changed by other users; set "
                  "COPYKV_RUNTIME_DIR to a directory of your own",
                  path, entry->st_uid, entry->st_mode & 07777)};
}

}  // namespace

std::string runtime_dir(std::string_view given) {
  if (!given.empty()) return std::string(given);
  if (const auto dir = environment("COPYKV_RUNTIME_DIR"); !dir.empty()) return std::string(dir);
  if (const auto dir = environment("XDG_RUNTIME_DIR"); !dir.empty()) {
    return fmt::format("{}/copykv", dir);
  }
  return fmt::format("/tmp/copykv-{}", geteuid());
}

std::string job_name(std::string_view given) {
  if (!given.empty()) return std::string(given);
  const auto job = environment("COPYKV_JOB");
  return job.empty() ? std::string("default") : std::string(job);
}

Outcome<void> check_job_name(std::string_view job) {
  const bool fits = !job.empty() && job.size() <= kJobNameBytesMax;
  if (fits && std::all_of(job.begin(), job.end(), is_job_name_char) && job != "." && job != "..") {
    return {};
  }
  return Failure{
      fmt::format("job name '{}' is not usable; take 1 to {} characters of A-Z a-z 0-9 . _ -", job,
                  kJobNameBytesMax)};
}

Outcome<std::string> job_dir(std::string_view runtime_dir, std::string_view job) {
  if (auto checked = check_job_name(job); !checked) return Failure{checked.error};
  return fmt::format("{}/{}", runtime_dir, job);
}

Outcome<std::string> socket_path(std::string_view runtime_dir, std::string_view job,
                                 uint32_t rank) {
  auto dir = job_dir(runtime_dir, job);
  if (!dir) return dir;
  std::string path = fmt::format("{}/rank{}.sock", *dir, rank);
  if (path.size() > kSocketPathBytesMax) {
    return Failure{
        fmt::format("socket path {} has {} bytes, a Unix socket takes {}; set "
                    "COPYKV_RUNTIME_DIR to a shorter directory",
                    path, path.size(), kSocketPathBytesMax)};
  }
  return path;
}

Outcome<std::string> make_job_dir(const std::string& runtime_dir, std::string_view job) {
  auto dir = job_dir(runtime_dir, job);
  if (!dir) return dir;
  for (size_t end = dir->find('/', 1); end != std::string::npos; end = dir->find('/', end + 1)) {
    // Parents may exist and stand on a read-only mount: only the last step must succeed.
    (void)mkdir(dir->substr(0, end).c_str(), 0700);
  }
  if (mkdir(dir->c_str(), 0700) != 0 && errno != EEXIST) {
    return Failure{
        fmt::format("cannot create {}: {}; set COPYKV_RUNTIME_DIR to a directory you may "
                    "write to",
                    *dir, std::strerror(errno))};
  }
  if (auto checked = check_job_dir(runtime_dir, job); !checked) return Failure{checked.error};
  return dir;
}

Outcome<void> check_job_dir(const std::string& runtime_dir, std::string_view job) {
  auto dir = job_dir(runtime_dir, job);
  if (!dir) return Failure{dir.error};
  if (auto checked = check_parent(runtime_dir); !checked) return checked;
  auto entry = directory_at(*dir);
  if (!entry) return Failure{entry.error};
  if (entry->st_uid != geteuid()) {
    return Failure{
        fmt::format("{} belongs to user {}, not to user {}; set COPYKV_RUNTIME_DIR to a "
                    "directory of your own",
                    *dir, entry->st_uid, geteuid())};
  }
  if ((entry->st_mode & 0077) != 0) {
    return Failure{fmt::format("{} has mode {:04o}, others may enter it; run: chmod 700 {}", *dir,
                               entry->st_mode & 07777, *dir)};
  }
  return {};
}

}  // namespace copykv
