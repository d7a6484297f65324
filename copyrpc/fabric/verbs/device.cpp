// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/device.hpp"

#include <fmt/format.h>
#include <hwloc.h>
#include <hwloc/openfabrics-verbs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <vector>

#include "copyrpc/fabric/verbs/errors.hpp"
#include "copyrpc/fabric/verbs/gid.hpp"

namespace copyrpc::verbs {
namespace {

using copykv::Failure;
using copykv::Outcome;

constexpr std::array kStates = {"no state", "down", "initializing", "armed", "active", "deferred"};

using DeviceList = std::unique_ptr<ibv_device*, decltype(&ibv_free_device_list)>;
using Topology = std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)>;
using Bitmap = std::unique_ptr<hwloc_bitmap_s, decltype(&hwloc_bitmap_free)>;

Topology load_topology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return {nullptr, &hwloc_topology_destroy};
  Topology topology(raw, &hwloc_topology_destroy);
  if (hwloc_topology_load(raw) != 0) topology.reset();
  return topology;
}

/// Whether the device sits by a processor that this thread may run on; true where nobody knows.
bool is_near(const Topology& topology, ibv_device* device) {
  if (!topology) return true;
  const Bitmap mine(hwloc_bitmap_alloc(), &hwloc_bitmap_free);
  const Bitmap its(hwloc_bitmap_alloc(), &hwloc_bitmap_free);
  if (hwloc_get_cpubind(topology.get(), mine.get(), HWLOC_CPUBIND_THREAD) != 0) return true;
  if (hwloc_ibv_get_device_cpuset(topology.get(), device, its.get()) != 0) return true;
  return hwloc_bitmap_iszero(its.get()) || hwloc_bitmap_intersects(mine.get(), its.get()) != 0;
}

/// A port that was looked at: what it is, and opened where it can be used.
struct Found {
  VerbsPort view;
  Device device;
};

void describe(const Device& device, VerbsPort& view) {
  view.device = device.name;
  view.port = device.port;
  view.link = device.ethernet() ? "RoCE" : "InfiniBand";
  const auto state = static_cast<size_t>(device.link.state);
  view.state = state < kStates.size() ? kStates[state] : "unknown";
  view.mtu_bytes = 128U << device.link.active_mtu;
  view.queue_pairs_max = static_cast<uint32_t>(std::max(device.limits.max_qp, 0));
  view.queue_entries_max = static_cast<uint32_t>(std::max(device.limits.max_qp_wr, 0));
  view.receive_entries_max = static_cast<uint32_t>(std::max(device.limits.max_srq_wr, 0));
  view.completion_entries_max = static_cast<uint32_t>(std::max(device.limits.max_cqe, 0));
  view.message_bytes_max = device.link.max_msg_sz;
}

Outcome<Owned<ibv_context>> open_context(ibv_device* device) {
  errno = 0;
  Owned<ibv_context> context(ibv_open_device(device));
  if (!context)
    return failure(ibv_get_device_name(device), "ibv_open_device", errno == 0 ? ENODEV : errno);
  return context;
}

/// Looks at one port; `reason` says why it cannot be used.
void look_at(Found& found, const VerbsOptions& options) {
  Device& device = found.device;
  VerbsPort& view = found.view;
  if (const int error = ibv_query_port(device.context.get(), device.port, &device.link);
      error != 0) {
    view.reason = failure(device.name, "ibv_query_port", error).line;
    return;
  }
  describe(device, view);
  if (device.link.link_layer != IBV_LINK_LAYER_ETHERNET &&
      device.link.link_layer != IBV_LINK_LAYER_INFINIBAND) {
    view.reason = "neither InfiniBand nor Ethernet";
    return;
  }
  if (device.link.state != IBV_PORT_ACTIVE) {
    view.reason = fmt::format(
        "its state is {}, not active: check cable, switch and (InfiniBand) "
        "subnet manager",
        view.state);
    return;
  }
  auto gid = choose_gid(device.context.get(), device.port, device.link, options.gid_index);
  if (!gid) {
    view.reason = gid.error;
    return;
  }
  device.gid_index = gid->index;
  device.gid = gid->value;
  view.gid_index = gid->index;
  view.gid = fmt::format("{} {} ({})", gid->index, gid_text(gid->value), gid->type);
}

void look_at_device(ibv_device* raw, const Topology& topology, const VerbsOptions& options,
                    std::vector<Found>& all) {
  const std::string name = ibv_get_device_name(raw);
  uint8_t ports = 1;
  for (uint8_t port = 1; port <= ports; ++port) {
    Found& found = all.emplace_back();
    found.view.device = found.device.name = name;
    found.view.port = found.device.port = port;
    found.view.near = is_near(topology, raw);
    auto context = open_context(raw);
    if (!context) {
      found.view.reason = context.error;
      return;
    }
    found.device.context = std::move(*context);
    const int error = ibv_query_device(found.device.context.get(), &found.device.limits);
    if (error != 0) {
      found.view.reason = failure(name, "ibv_query_device", error).line;
      return;
    }
    ports = found.device.limits.phys_port_cnt;
    look_at(found, options);
  }
}

bool better(const Found& one, const Found& other) {
  if (one.view.reason.empty() != other.view.reason.empty()) return one.view.reason.empty();
  return one.view.near && !other.view.near;
}

/// Every port that `options` allow, the best one first. An error: there is nothing to look at.
Outcome<std::vector<Found>> look(const VerbsOptions& options) {
  int count = 0;
  errno = 0;
  const DeviceList list(ibv_get_device_list(&count), &ibv_free_device_list);
  if (!list || count == 0)
    return Failure{
        "this machine has no RDMA device: `ibv_devinfo` lists none (driver loaded, "
        "ibverbs-providers installed, /dev/infiniband in this container?)"};
  const Topology topology = load_topology();
  std::vector<Found> all;
  std::string names;
  for (int at = 0; at < count; ++at) {
    ibv_device* device = list.get()[at];
    const std::string name = ibv_get_device_name(device);
    names += (at == 0 ? "" : ", ") + name;
    if (options.device.empty() || options.device == name)
      look_at_device(device, topology, options, all);
  }
  if (all.empty())
    return Failure{fmt::format("--device {}: this machine has {}", options.device, names)};
  if (options.port != 0) {
    std::erase_if(all, [&](const Found& one) { return one.view.port != options.port; });
    if (all.empty()) return Failure{fmt::format("--port {}: no device has it", options.port)};
  }
  std::stable_sort(all.begin(), all.end(), better);
  return all;
}

}  // namespace

Outcome<Device> open_device(const VerbsOptions& options) {
  auto all = look(options);
  if (!all) return Failure{all.error};
  Found& first = all->front();
  if (!first.view.reason.empty())
    return Failure{
        fmt::format("port {} of {}: {}", first.view.port, first.view.device, first.view.reason)};
  Device device = std::move(first.device);
  device.traffic_class = options.traffic_class;
  device.service_level = options.service_level;
  errno = 0;
  device.domain.reset(ibv_alloc_pd(device.context.get()));
  if (!device.domain) return failure(device.name, "ibv_alloc_pd", errno);
  return device;
}

}  // namespace copyrpc::verbs

namespace copyrpc {

namespace {

void ask(VerbsOptions options, VerbsPort& view) {
  options.device = view.device;
  options.port = view.port;
  if (auto granted = rc_inline_granted(options); granted)
    view.rc_inline_bytes = *granted;
  else
    view.rc_reason = granted.error;
  if (auto granted = dc_inline_granted(options); granted)
    view.dc_inline_bytes = *granted;
  else
    view.dc_reason = granted.error;
}

}  // namespace

copykv::Outcome<std::vector<VerbsPort>> verbs_ports(const VerbsOptions& options) {
  auto all = verbs::look(options);
  if (!all) return copykv::Failure{all.error};
  std::vector<VerbsPort> views;
  for (verbs::Found& one : *all) {
    views.push_back(std::move(one.view));
    if (views.back().reason.empty()) ask(options, views.back());
  }
  return views;
}

}  // namespace copyrpc
