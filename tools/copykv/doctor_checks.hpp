// SPDX-License-Identifier: Apache-2.0
// What `copykv doctor` looks at. Each check judges what it is given, so that it can be tested
// without such a machine; doctor.cpp does the looking.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace copykv::tools {

enum class Verdict : uint8_t { ok, warn, fail };

struct Check {
  std::string name;
  Verdict verdict = Verdict::ok;
  std::string finding;
  std::string remedy{};  ///< empty when the verdict is ok
};

/// Processors of the machine, and those this process may run on.
[[nodiscard]] Check check_cores(uint32_t online, uint32_t allowed);

/// RLIMIT_MEMLOCK; RDMA transports register (and so lock) what peers may write to.
[[nodiscard]] Check check_locked_memory(uint64_t limit_bytes);

/// RLIMIT_NOFILE; the daemon holds some descriptors for each client.
[[nodiscard]] Check check_open_files(uint64_t soft_limit, uint64_t hard_limit);

/// The text of .../transparent_hugepage/shmem_enabled ("always [never] ..."; empty: no such file)
/// and the number of reserved huge pages.
[[nodiscard]] Check check_huge_pages(std::string_view shmem_enabled, uint64_t reserved_pages);

/// MemAvailable, and what the memory limit of the cgroup leaves, if there is one.
[[nodiscard]] Check check_memory(uint64_t available_bytes, std::optional<uint64_t> cgroup_bytes);

/// Makes and seals a memfd, as the daemon does for each client.
[[nodiscard]] Check check_memfd();

[[nodiscard]] Check check_membarrier();

[[nodiscard]] Check check_runtime_dir(const std::string& runtime_dir, const std::string& job);

/// Nothing to check: says why a small /dev/shm does not matter.
[[nodiscard]] Check check_dev_shm();

/// What the memory limits of this process's cgroups (v2: itself and all above it; v1: the memory
/// controller) leave; nothing when there is no limit. `cgroups` is the text of /proc/self/cgroup,
/// `mount` usually /sys/fs/cgroup.
[[nodiscard]] std::optional<uint64_t> cgroup_memory_left(const std::string& cgroups,
                                                         const std::string& mount);

/// The whole content, empty when it cannot be read.
[[nodiscard]] std::string read_text(const std::string& path);

}  // namespace copykv::tools
