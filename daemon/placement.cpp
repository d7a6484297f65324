// SPDX-License-Identifier: Apache-2.0
#include "daemon/placement.hpp"

#include <fmt/format.h>
#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <memory>

#include "base/units.hpp"

namespace copykv {
namespace {

using Topology = std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)>;

/// The topology that this process may use (its cpuset and cgroup), or nothing.
[[nodiscard]] Topology load_topology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return {nullptr, &hwloc_topology_destroy};
  Topology topology(raw, &hwloc_topology_destroy);
  if (hwloc_topology_load(raw) != 0) topology.reset();
  return topology;
}

[[nodiscard]] int node_of(hwloc_obj_t object) {
  if (object == nullptr || object->nodeset == nullptr) return -1;
  return hwloc_bitmap_first(object->nodeset);
}

/// First hardware thread of each allowed core, in topology order: neighbours share caches.
[[nodiscard]] std::vector<CpuPlace> cores_of(hwloc_topology_t topology) {
  std::vector<CpuPlace> cores;
  const int core_count = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
  for (int index = 0; index < core_count; ++index) {
    hwloc_obj_t core =
        hwloc_get_obj_by_type(topology, HWLOC_OBJ_CORE, static_cast<unsigned>(index));
    cores.push_back({hwloc_bitmap_first(core->cpuset), node_of(core)});
  }
  return cores;
}

[[nodiscard]] Outcome<DaemonPlaces> place_by_list(std::string_view list, hwloc_topology_t topology,
                                                  uint32_t daemon_count) {
  DaemonPlaces placed;
  while (!list.empty()) {
    const size_t comma = list.find(',');
    const Outcome<uint64_t> cpu = parse_count(list.substr(0, comma), 1U << 20);
    if (!cpu)
      return Failure{"--pin takes auto, none, compact, spread or CPU numbers: " + cpu.error};
    hwloc_obj_t unit = hwloc_get_pu_obj_by_os_index(topology, static_cast<unsigned>(*cpu));
    if (unit == nullptr) {
      return Failure{
          fmt::format("--pin: CPU {} does not exist or is not allowed to this process; "
                      "see `taskset -cp $$`",
                      *cpu)};
    }
    placed.places.push_back({static_cast<int>(*cpu), node_of(unit)});
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
  }
  if (placed.places.size() != daemon_count) {
    return Failure{fmt::format("--pin names {} CPUs for {} daemon threads; name one for each",
                               placed.places.size(), daemon_count)};
  }
  return placed;
}

}  // namespace

void CpuPlace::bind_this_thread() const noexcept {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  (void)sched_setaffinity(0, sizeof(set), &set);  // a hint: the thread works anywhere
}

Outcome<DaemonPlaces> place_daemons(std::string_view policy, uint32_t daemon_count) {
  DaemonPlaces floating{std::vector<CpuPlace>(daemon_count), "daemon threads float"};
  if (policy == "none") return floating;
  const Topology topology = load_topology();
  if (!topology) return Failure{"hwloc cannot read the machine's topology; use --pin none"};
  const std::vector<CpuPlace> cores = cores_of(topology.get());
  const bool automatic = policy == "auto";
  if (automatic && cores.size() < std::max<size_t>(4, size_t{2} * daemon_count)) {
    floating.note = fmt::format(
        "daemon threads float: {} cores for {} daemons and their clients (--pin compact to insist)",
        cores.size(), daemon_count);
    return floating;
  }
  DaemonPlaces placed;
  if (automatic || policy == "compact") {
    if (cores.size() < daemon_count) {
      return Failure{fmt::format("--pin {}: {} cores for {} daemon threads; lower --daemon-threads",
                                 policy, cores.size(), daemon_count)};
    }
    placed.places.assign(cores.begin(), cores.begin() + daemon_count);
  } else if (policy == "spread") {
    const int node_count = hwloc_get_nbobjs_by_type(topology.get(), HWLOC_OBJ_NUMANODE);
    std::vector<std::vector<CpuPlace>> by_node(static_cast<size_t>(std::max(1, node_count)));
    for (const CpuPlace& core : cores) {
      by_node[static_cast<size_t>(std::max(0, core.numa_node)) % by_node.size()].push_back(core);
    }
    for (uint32_t daemon = 0; daemon < daemon_count; ++daemon) {
      const auto& node = by_node[daemon % by_node.size()];
      if (daemon / by_node.size() >= node.size()) {
        return Failure{
            fmt::format("--pin spread: too few cores per NUMA node for {} daemon "
                        "threads; lower --daemon-threads",
                        daemon_count)};
      }
      placed.places.push_back(node[daemon / by_node.size()]);
    }
  } else {
    Outcome<DaemonPlaces> listed = place_by_list(policy, topology.get(), daemon_count);
    if (!listed) return listed;
    placed = std::move(*listed);
  }
  placed.note = "daemon threads on";
  for (const CpuPlace& place : placed.places) {
    placed.note += fmt::format(" CPU {} (node {})", place.cpu, place.numa_node);
  }
  return placed;
}

}  // namespace copykv
