// SPDX-License-Identifier: Apache-2.0
// copykv doctor: is this machine fit for copykv, and what to do where it is not.
#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/units.hpp"
#include "tools/copykv/doctor_checks.hpp"
#include "tools/copykv/doctor_ranks.hpp"
#include "tools/copykv/rdma.hpp"

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

std::vector<Check> examine(const Common& common, bool fix, const Rdma& rdma) {
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
      check_runtime_dir(common.runtime_dir, common.job),
  };
  for (Check& check : check_rdma(rdma)) checks.push_back(std::move(check));
  for (Check& check : check_ranks(common, fix)) checks.push_back(std::move(check));
  return checks;
}

constexpr std::string_view kVerdicts[] = {"ok", "warn", "fail"};

std::string_view verdict_text(const Check& check) {
  return kVerdicts[static_cast<uint8_t>(check.verdict)];
}

void write_lines(const std::vector<Check>& checks) {
  for (const Check& check : checks) {
    write_out(fmt::format("{:<5} {:<18} {}\n", verdict_text(check), check.name, check.finding));
    if (!check.remedy.empty()) write_out(fmt::format("{:<24} -> {}\n", "", check.remedy));
  }
}

void write_json(const std::vector<Check>& checks, const Rdma& rdma) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Check& check : checks) {
    list.push_back({{"name", check.name},
                    {"verdict", verdict_text(check)},
                    {"finding", check.finding},
                    {"remedy", check.remedy}});
  }
  const nlohmann::ordered_json document = {{"checks", list}, {"rdma", to_json(rdma)}};
  write_out(document.dump(2) + "\n");
}

Exit run(const Common& common, bool fix, bool as_json) {
  const Rdma rdma = look_at_rdma();
  const std::vector<Check> checks = examine(common, fix, rdma);
  if (as_json) {
    write_json(checks, rdma);
  } else {
    write_lines(checks);
  }
  flush_out();
  const auto failed = std::count_if(checks.begin(), checks.end(), [](const Check& check) {
    return check.verdict == Verdict::fail;
  });
  if (failed == 0) return Exit::done;
  throw Failed(Exit::error,
               fmt::format("{} of the checks failed; the remedy is beside each", failed));
}

}  // namespace

void add_doctor(Commands& commands) {
  auto fix = std::make_shared<bool>(false);
  auto as_json = std::make_shared<bool>(false);
  Command command =
      commands.add("doctor", "check this machine and the daemons on it; exit 4 if a check fails",
                   [fix, as_json](const Common& common) { return run(common, *fix, *as_json); });
  command.flag("--fix", *fix, "remove the files of dead daemons");
  command.flag("--json", *as_json, "as JSON");
}

}  // namespace copykv::tools
