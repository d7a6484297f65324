// SPDX-License-Identifier: Apache-2.0
#include "daemon/options.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/units.hpp"
#include "shm/segment.hpp"

namespace copykv {
namespace {

/// Descriptors that a client costs: its socket, its process, its segment.
constexpr uint64_t kDescriptorsPerClient = 3;
constexpr uint64_t kDescriptorsOwn = 64 + 4 * kDaemonsMax;

[[nodiscard]] uint64_t first_number_of(const char* path, const char* after = "") {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind(after, 0) != 0) continue;
    const size_t digit = line.find_first_of("0123456789", std::strlen(after));
    if (digit != std::string::npos) return std::strtoull(line.c_str() + digit, nullptr, 10);
  }
  return UINT64_MAX;  // no limit known
}

[[nodiscard]] Outcome<void> check_memory(const DaemonOptions& options) {
  const uint64_t available_kib = first_number_of("/proc/meminfo", "MemAvailable:");
  const uint64_t machine = available_kib == UINT64_MAX ? UINT64_MAX : available_kib * 1024;
  const uint64_t cgroup = std::min(first_number_of("/sys/fs/cgroup/memory.max"),
                                   first_number_of("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
  const uint64_t limit = std::min(machine, cgroup);
  if (options.memory_bytes <= limit) return {};
  return Failure{fmt::format(
      "--memory {} is more than the {} {}; lower --memory or {}", spell_bytes(options.memory_bytes),
      format_bytes(limit),
      cgroup < machine ? "that the control group allows" : "that this machine has available",
      cgroup < machine ? "raise the container's memory limit" : "free some memory")};
}

[[nodiscard]] Outcome<void> check_open_files(const DaemonOptions& options) {
  const uint64_t needed = kDescriptorsOwn + kDescriptorsPerClient * options.clients_max;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed) return {};
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, needed);
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= needed) return {};
  return Failure{
      fmt::format("--max-clients {} needs {} open files, the limit is {}; raise "
                  "`ulimit -n` or lower --max-clients",
                  options.clients_max, needed, limit.rlim_max)};
}

[[nodiscard]] Outcome<void> lock_memory() {
  if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0) return {};
  rlimit limit{};
  (void)::getrlimit(RLIMIT_MEMLOCK, &limit);
  return Failure{
      fmt::format("--lock-memory: {}, the limit of locked memory is {}; raise "
                  "`ulimit -l` or LimitMEMLOCK=, or leave --lock-memory out",
                  std::strerror(errno), format_bytes(limit.rlim_cur))};
}

}  // namespace

void add_settings(Settings& settings, DaemonOptions& options) {
  settings.add("runtime-dir", options.runtime_dir,
               "where sockets stand [$XDG_RUNTIME_DIR/copykv, else /tmp/copykv-<uid>]");
  settings.add("job", options.job, "name shared by the ranks and their clients [default]");
  settings.add("rank", options.rank, "number of this rank, 0 .. ranks - 1");
  settings.add("ranks", options.ranks, "ranks in the job", {1, 1U << 16});
  settings.add("daemon-threads", options.daemon_threads, "poll-loop threads, each with its keys",
               {1, kDaemonsMax});
  settings.add_bytes("memory", options.memory_bytes, "limit of keys, values and index",
                     {kStoreBudgetBytesMin, kStoreBudgetBytesMax});
  settings.add_bytes("max-value-bytes", options.value_bytes_max, "longest value accepted",
                     {1, uint64_t{1} << 30});
  settings.add("max-clients", options.clients_max, "attached clients at one time", {1, 1U << 16});
  settings.add_bytes("client-bulk", options.client_bulk_bytes,
                     "most bulk memory (values beyond 4 KiB on their way) for one client");
  settings.add("transport", options.transport, "how ranks talk: auto, or by name");
  settings.add("rendezvous", options.rendezvous, "how ranks find each other: none for one rank");
  settings.add("pin", options.pin, "daemon threads on: auto, none, compact, spread, or CPU list");
  settings.add_choice(
      "huge-pages", options.huge_pages, "2 MiB pages for the store",
      {{"off", HugePages::off}, {"try", HugePages::attempt}, {"require", HugePages::require}});
  settings.add_choice("wait", options.wait, "what an idle daemon does",
                      {{"spin", Wait::spin}, {"adaptive", Wait::adaptive}, {"park", Wait::park}});
  settings.add("lock-memory", options.lock_memory, "lock memory against swapping");
}

Outcome<void> check_options(const DaemonOptions& options) {
  if (options.rank >= options.ranks) {
    return Failure{fmt::format("--rank {} with --ranks {}; ranks are numbered from 0 to {}",
                               options.rank, options.ranks, options.ranks - 1)};
  }
  if (options.ranks > 1) {
    return Failure{
        fmt::format("--ranks {}: this version serves one rank; keys of other ranks need "
                    "a transport that it does not have. Use --ranks 1",
                    options.ranks)};
  }
  if (options.transport != "auto") {
    return Failure{
        fmt::format("--transport {}: this version serves one rank and has no "
                    "transports; use --transport auto",
                    options.transport)};
  }
  if (!options.rendezvous.empty() && options.rendezvous != "none") {
    return Failure{
        fmt::format("--rendezvous {}: one rank has nobody to meet; use "
                    "--rendezvous none",
                    options.rendezvous)};
  }
  if (options.memory_bytes / options.daemon_threads < kStoreBudgetBytesMin) {
    return Failure{
        fmt::format("--memory {} is less than {} for each of {} daemon threads; raise "
                    "--memory or lower --daemon-threads",
                    spell_bytes(options.memory_bytes), spell_bytes(kStoreBudgetBytesMin),
                    options.daemon_threads)};
  }
  return {};
}

Outcome<void> check_machine(const DaemonOptions& options) {
  if (Outcome<void> memory = check_memory(options); !memory) return memory;
  if (Outcome<void> files = check_open_files(options); !files) return files;
  if (options.lock_memory) return lock_memory();
  return {};
}

}  // namespace copykv
