// SPDX-License-Identifier: Apache-2.0
#include "daemon/options.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/launcher.hpp"
#include "base/units.hpp"
#include "daemon/data_ports.hpp"
#include "daemon/job_card.hpp"
#include "shm/segment.hpp"

namespace copykv {
namespace {

/// Descriptors that a client costs: its socket, its process, its segment.
constexpr uint64_t kDescriptorsPerClient = 3;
/// Its own, those of an attach on its way, and those of connections that say nothing.
constexpr uint64_t kDescriptorsOwn = 64 + 6 * kDaemonsMax + 2 * kSilentConnectionsMax;

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
  // Of a job: connections of every daemon to every rank, those of strangers, and at rank 0 those of
  // the rendezvous.
  const uint64_t of_job = options.ranks > 1
                              ? uint64_t{options.ranks} * (4 * options.daemon_threads + 1) + 272 +
                                    2 * kStrangersAtPortsMax
                              : 0;
  const uint64_t needed = kDescriptorsOwn + of_job + kDescriptorsPerClient * options.clients_max;
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
  settings.add_bytes("clients-memory", options.clients_memory_bytes,
                     "most memory for the segments of all clients, bulk memory included");
  settings.add("attach-rate", options.attach_rate,
               "attaches per second of one process that goes on for long", {1, 1'000'000});
  settings.add("transport", options.transport,
               "how ranks talk: auto, rc, dc, ofi-tcp, ofi-shm, ofi:<provider>");
  settings.add("rendezvous", options.rendezvous,
               "how ranks find each other: tcp://host:port, file:///dir, pmix, none [none for one "
               "rank, pmix under a launcher]");
  settings.add("address", options.address,
               "address or interface that other ranks reach this one by [the rendezvous' own]");
  settings.add("device", options.device, "RDMA device [the nearest one that has an active port]");
  settings.add("port", options.port, "port of the RDMA device, 0: the first active one", {0, 255});
  settings.add("gid-index", options.gid_index,
               "GID of the port, by its index; auto: RoCE v2 over IPv4 where there is one");
  settings.add("relaxed-ordering", options.relaxed_ordering,
               "let the RDMA device write to memory in any order within a post");
  settings.add("traffic-class", options.traffic_class,
               "of RoCE packets: DSCP times 4, for the switches' lossless class", {0, 255});
  settings.add("dci-count", options.dci_count,
               "of --transport dc: send queues (DC initiators) that all peers share", {1, 1'024});
  settings.add("job-secret-file", options.job_secret_file,
               "secret of the job for tcp:// [$COPYKV_JOB_SECRET; on loopback a file of the job]");
  settings.add_duration("rendezvous-timeout", options.rendezvous_timeout_ns,
                        "how long to wait for the other ranks");
  settings.add_bytes(
      "receive-memory", options.receive_memory_bytes,
      "for each daemon: rings that other ranks write to; as much again is sent from");
  settings.add("flush", options.flush_text,
               "when requests to other ranks leave: loop, call, hold:US, clocked[:K]");
  settings.add_duration("peer-timeout", options.peer_timeout_ns,
                        "silence after which another rank counts as failed");
  settings.add("pin", options.pin, "daemon threads on: auto, none, compact, spread, or CPU list");
  settings.add_choice(
      "huge-pages", options.huge_pages, "2 MiB pages for the store",
      {{"off", HugePages::off}, {"try", HugePages::attempt}, {"require", HugePages::require}});
  settings.add_choice("wait", options.wait, "what an idle daemon does",
                      {{"spin", Wait::spin}, {"adaptive", Wait::adaptive}, {"park", Wait::park}});
  settings.add("lock-memory", options.lock_memory, "lock memory against swapping");
  settings.add("record-stations", options.stations,
               "write down when sampled requests to other ranks pass (benchkv --stations)");
}

Outcome<void> follow_launcher(const Settings& settings, DaemonOptions& options) {
  if (settings.is_set("rank") || settings.is_set("ranks")) return {};
  auto launch = find_launch();
  if (!launch) return Failure{launch.error};
  if (!*launch) return {};
  const Launch& found = **launch;
  if (!found.ranks) {
    return Failure{
        fmt::format("{} says rank {}, but not how many ranks there are; give --rank and "
                    "--ranks",
                    found.launcher, found.rank)};
  }
  options.rank = found.rank;
  options.ranks = *found.ranks;
  if (options.rendezvous.empty() && options.ranks > 1) options.rendezvous = "pmix";
  return {};
}

Outcome<void> check_options(DaemonOptions& options) {
  if (options.rank >= options.ranks) {
    return Failure{fmt::format("--rank {} with --ranks {}; ranks are numbered from 0 to {}",
                               options.rank, options.ranks, options.ranks - 1)};
  }
  auto flush = copyrpc::FlushPolicy::parse(options.flush_text);
  if (!flush) return Failure{fmt::format("--flush {}: {}", options.flush_text, flush.error)};
  options.flush = *flush;
  if (options.gid_index != "auto" && !parse_count(options.gid_index, 255)) {
    return Failure{fmt::format("--gid-index {}: auto, or a number up to 255; see `copykv doctor`",
                               options.gid_index)};
  }
  if (options.ranks == 1) {
    if (!options.rendezvous.empty() && options.rendezvous != "none") {
      return Failure{
          fmt::format("--rendezvous {}: one rank has nobody to meet; use "
                      "--rendezvous none, or --ranks",
                      options.rendezvous)};
    }
    options.rendezvous = "none";
    if (options.stations) {
      return Failure{"--record-stations: one rank has no others to send requests to; leave it out"};
    }
  } else {
    if (options.rendezvous.empty() || options.rendezvous == "none") {
      return Failure{
          fmt::format("--ranks {} without --rendezvous; use tcp://host:port (of rank 0), "
                      "file:///dir (shared by all ranks), or pmix under mpirun",
                      options.ranks)};
    }
    if (options.ranks > kJobRanksMax || options.daemon_threads > kRailsMax) {
      return Failure{
          fmt::format("--ranks {} --daemon-threads {}: a job has at most {} ranks of {} "
                      "daemon threads",
                      options.ranks, options.daemon_threads, kJobRanksMax, kRailsMax)};
    }
    if (options.peer_timeout_ns < 4 * kNanosPerMilli) {
      return Failure{"--peer-timeout: less than 4ms cannot be kept; the default is 800ms"};
    }
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
