// SPDX-License-Identifier: Apache-2.0
// copykv doctor: is this machine fit for copykv, and what to do where it is not.
#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/units.hpp"
#include "tools/copykv/doctor_checks.hpp"
#include "tools/copykv/doctor_ranks.hpp"

namespace copykv::tools {
namespace {

constexpr const char* kShmemEnabled = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

// The number behind "Name:" in /proc/meminfo, 0 when it is not there.
uint64_t meminfo(std::string_view name) {
  const std::string text = "\n" + read_text("/proc/meminfo");
  const auto at = text.find(fmt::format("\n{}:", name));
  if (at == std::string::npos) return 0;
  const auto begin = text.find_first_of("0123456789", at);
  const auto end = text.find_first_not_of("0123456789", begin);
  const auto number = parse_count(text.substr(begin, end - begin));
  return number ? *number : 0;
}

uint32_t allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // It fails on machines with more than 1,024 processors: then all are taken as allowed.
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) {
    return static_cast<uint32_t>(::sysconf(_SC_NPROCESSORS_ONLN));
  }
  return static_cast<uint32_t>(CPU_COUNT(&set));
}

std::vector<Check> examine(const Common& common, bool fix) {
  rlimit locked{};
  rlimit files{};
  (void)::getrlimit(RLIMIT_MEMLOCK, &locked);
  (void)::getrlimit(RLIMIT_NOFILE, &files);
  std::vector<Check> checks = {
      check_cores(static_cast<uint32_t>(::sysconf(_SC_NPROCESSORS_ONLN)), allowed_cores()),
      check_memory(meminfo("MemAvailable") * 1024,
                   cgroup_memory_left(read_text("/proc/self/cgroup"), "/sys/fs/cgroup")),
      check_memfd(),
      check_dev_shm(),
      check_huge_pages(read_text(kShmemEnabled), meminfo("HugePages_Total")),
      check_locked_memory(locked.rlim_cur),
      check_open_files(files.rlim_cur, files.rlim_max),
      check_membarrier(),
      check_rdma("/sys/class/infiniband", "/dev/infiniband"),
      check_runtime_dir(common.runtime_dir, common.job),
  };
  for (Check& check : check_ranks(common, fix)) checks.push_back(std::move(check));
  return checks;
}

Exit run(const Common& common, bool fix) {
  constexpr std::string_view kVerdicts[] = {"ok", "warn", "fail"};
  size_t failed = 0;
  for (const Check& check : examine(common, fix)) {
    write_out(fmt::format("{:<5} {:<18} {}\n", kVerdicts[static_cast<uint8_t>(check.verdict)],
                          check.name, check.finding));
    if (!check.remedy.empty()) write_out(fmt::format("{:<24} -> {}\n", "", check.remedy));
    failed += check.verdict == Verdict::fail ? 1 : 0;
  }
  flush_out();
  if (failed == 0) return Exit::done;
  throw Failed(Exit::error,
               fmt::format("{} of the checks failed; the remedy is beside each", failed));
}

}  // namespace

void add_doctor(Commands& commands) {
  auto fix = std::make_shared<bool>(false);
  Command command =
      commands.add("doctor", "check this machine and the daemons on it; exit 4 if a check fails",
                   [fix](const Common& common) { return run(common, *fix); });
  command.flag("--fix", *fix, "remove the files of dead daemons");
}

}  // namespace copykv::tools
