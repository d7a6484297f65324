// SPDX-License-Identifier: Apache-2.0
// Which devices there are, and what they say of themselves: numbers of a ConnectX-6.
#include <arpa/inet.h>
#include <endian.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/entropy.hpp"
#include "tests/emulated_mlx5/calls.hpp"
#include "tests/emulated_mlx5/neighbours.hpp"

namespace emulated_mlx5 {
namespace {

constexpr uint64_t kGuid = 0x0c42a10300e10000;
constexpr uint16_t kLid = 17;

void join_neighbours(Network& network) {
  if (network.neighbours != nullptr || network.options.clock != nullptr) return;
  network.neighbours = Neighbours::join();
  if (network.neighbours != nullptr) network.random = copykv::Random(copykv::random_word());
}

void make_devices(Network& network) {
  for (uint32_t at = static_cast<uint32_t>(network.devices.size()); at < network.options.devices;
       ++at) {
    auto device = std::make_unique<Device>();
    device->node_type = IBV_NODE_CA;
    device->transport_type = IBV_TRANSPORT_IB;
    std::snprintf(device->name, sizeof(device->name), "mlx5_%u", at);
    std::snprintf(device->dev_name, sizeof(device->dev_name), "uverbs%u", at);
    device->lid = static_cast<uint16_t>(network.options.ethernet ? 0 : kLid + at);
    device->guid = kGuid + at;
    network.devices.push_back(std::move(device));
  }
}

int query_port(ibv_context* context, uint8_t port, ibv_port_attr* attributes, size_t bytes) {
  if (port != kPort) return EINVAL;
  ibv_port_attr all{};
  all.state = IBV_PORT_ACTIVE;
  all.max_mtu = all.active_mtu = IBV_MTU_4096;
  all.gid_tbl_len = 1;
  all.max_msg_sz = 1U << 30;
  all.pkey_tbl_len = 1;
  all.lid = context_of(context).device->lid;
  all.sm_lid = 1;
  all.active_width = 2;
  all.active_speed = 64;
  all.phys_state = 5;
  all.link_layer = network().options.ethernet ? IBV_LINK_LAYER_ETHERNET : IBV_LINK_LAYER_INFINIBAND;
  std::memcpy(attributes, &all, std::min(bytes, sizeof(all)));
  return 0;
}

}  // namespace

ibv_gid Device::gid() const noexcept {
  ibv_gid made{};
  made.global.subnet_prefix = htobe64(0xfe80000000000000);
  made.global.interface_id = htobe64(guid);
  return made;
}

}  // namespace emulated_mlx5

using namespace emulated_mlx5;

ibv_device** ibv_get_device_list(int* count) {
  const Locked net;
  make_devices(*net);
  auto** list = new ibv_device* [net->devices.size() + 1] {};
  for (size_t at = 0; at < net->devices.size(); ++at) list[at] = net->devices[at].get();
  if (count != nullptr) *count = static_cast<int>(net->devices.size());
  return list;
}

void ibv_free_device_list(ibv_device** list) {
  delete[] list;
}

const char* ibv_get_device_name(ibv_device* device) {
  return device->name;
}

__be64 ibv_get_device_guid(ibv_device* device) {
  return htobe64(static_cast<Device*>(device)->guid);
}

int ibv_get_device_index(ibv_device* device) {
  return static_cast<int>(static_cast<Device*>(device)->guid - kGuid);
}

ibv_context* ibv_open_device(ibv_device* device) {
  const Locked net;
  join_neighbours(*net);
  auto* context = new Context{};
  context->device = static_cast<Device*>(device);
  verbs_context& verbs = context->verbs;
  verbs.sz = sizeof(verbs);
  verbs.query_port = query_port;
  verbs.create_qp_ex = create_qp_ex;
  ibv_context& inner = verbs.context;
  inner.device = device;
  inner.abi_compat = __VERBS_ABI_IS_EXTENDED;
  inner.ops.poll_cq = poll_cq;
  inner.ops.req_notify_cq = req_notify_cq;
  inner.ops.post_srq_recv = post_srq_recv;
  inner.num_comp_vectors = 8;
  inner.cmd_fd = -1;
  inner.async_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
  net->contexts.push_back(context);
  ++net->objects;
  return &inner;
}

int ibv_close_device(ibv_context* context) {
  const Locked net;
  Context* closed = &context_of(context);
  close(context->async_fd);
  std::erase(net->contexts, closed);
  delete closed;
  --net->objects;
  return 0;
}

int ibv_query_device(ibv_context* context, ibv_device_attr* attributes) {
  const Locked net;
  const Options& options = net->options;
  *attributes = {};
  std::snprintf(attributes->fw_ver, sizeof(attributes->fw_ver), "0.0.0");
  attributes->node_guid = attributes->sys_image_guid = htobe64(context_of(context).device->guid);
  attributes->max_mr_size = ~uint64_t{0};
  attributes->page_size_cap = ~uint64_t{4095};
  attributes->vendor_id = 0x02c9;
  attributes->vendor_part_id = 4123;
  attributes->max_qp = static_cast<int>(options.qps_max);
  attributes->max_qp_wr = static_cast<int>(options.qp_wr_max);
  attributes->max_sge = static_cast<int>(kSgesMax);
  attributes->max_cq = 1 << 24;
  attributes->max_cqe = static_cast<int>(options.cqe_max);
  attributes->max_mr = 1 << 24;
  attributes->max_pd = 1 << 23;
  attributes->max_qp_rd_atom = attributes->max_qp_init_rd_atom = 16;
  attributes->max_ah = 1 << 30;
  attributes->max_srq = 1 << 23;
  attributes->max_srq_wr = static_cast<int>(options.srq_wr_max);
  attributes->max_srq_sge = 31;
  attributes->max_pkeys = 1;
  attributes->phys_port_cnt = 1;
  return 0;
}

#undef ibv_query_port
int ibv_query_port(ibv_context* context, uint8_t port, _compat_ibv_port_attr* attributes) {
  return query_port(context, port, reinterpret_cast<ibv_port_attr*>(attributes),
                    offsetof(ibv_port_attr, port_cap_flags2));
}

int ibv_query_gid(ibv_context* context, uint8_t port, int index, ibv_gid* gid) {
  if (port != kPort || index != 0) return -1;
  *gid = context_of(context).device->gid();
  return 0;
}

int _ibv_query_gid_ex(ibv_context* context, uint32_t port, uint32_t index, ibv_gid_entry* entry,
                      uint32_t, size_t) {
  if (port != kPort || index != 0) return ENODATA;
  *entry = {};
  entry->gid = context_of(context).device->gid();
  entry->port_num = port;
  entry->gid_type = network().options.ethernet ? IBV_GID_TYPE_ROCE_V2 : IBV_GID_TYPE_IB;
  return 0;
}

ssize_t _ibv_query_gid_table(ibv_context* context, ibv_gid_entry* entries, size_t entries_max,
                             uint32_t flags, size_t bytes) {
  if (entries_max == 0) return -EINVAL;
  return _ibv_query_gid_ex(context, kPort, 0, entries, flags, bytes) == 0 ? 1 : -EINVAL;
}

int ibv_query_pkey(ibv_context*, uint8_t port, int index, __be16* pkey) {
  if (port != kPort || index != 0) return -1;
  *pkey = htons(0xffff);
  return 0;
}

int ibv_fork_init() {
  return 0;
}

bool mlx5dv_is_supported(ibv_device*) {
  return true;
}

int mlx5dv_query_device(ibv_context*, mlx5dv_context* attributes) {
  const Options& options = network().options;
  const uint64_t wanted = attributes->comp_mask;
  attributes->version = 0;
  attributes->flags = MLX5DV_CONTEXT_FLAGS_CQE_V1;
  attributes->comp_mask = wanted & MLX5DV_CONTEXT_MASK_DCI_STREAMS;
  if (attributes->comp_mask != 0)
    attributes->dci_streams_caps = {options.streams_log_max, options.streams_errored_log_max};
  return 0;
}
