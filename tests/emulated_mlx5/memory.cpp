// SPDX-License-Identifier: Apache-2.0
// Protection domains, memory regions, address handles.
#include <cerrno>

#include "tests/emulated_mlx5/network.hpp"

using namespace emulated_mlx5;

namespace {

template <class T>
T* invalid() {
  errno = EINVAL;
  return nullptr;
}

ibv_mr* add_region(ibv_pd* pd, void* address, size_t bytes, unsigned access) {
  const Locked net;
  const unsigned writes_of_peers = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC;
  // ibv_reg_mr(3): remote write needs local write.
  if ((access & writes_of_peers) != 0 && (access & IBV_ACCESS_LOCAL_WRITE) == 0)
    return invalid<ibv_mr>();
  if (bytes == 0) return invalid<ibv_mr>();  // Linux, ib_umem_get
  auto* region = new Region{};
  region->context = pd->context;
  region->pd = pd;
  region->addr = address;
  region->length = bytes;
  region->lkey = region->rkey = net->new_key();
  region->access = static_cast<int>(access);
  net->regions.emplace(region->rkey, region);
  ++static_cast<Domain*>(pd)->users;
  ++net->objects;
  return region;
}

}  // namespace

ibv_pd* ibv_alloc_pd(ibv_context* context) {
  const Locked net;
  auto* domain = new Domain{};
  domain->context = context;
  ++net->objects;
  return domain;
}

int ibv_dealloc_pd(ibv_pd* pd) {
  const Locked net;
  auto* domain = static_cast<Domain*>(pd);
  if (domain->users != 0) return EBUSY;  // ibv_dealloc_pd(3)
  delete domain;
  --net->objects;
  return 0;
}

#undef ibv_reg_mr
ibv_mr* ibv_reg_mr(ibv_pd* pd, void* address, size_t bytes, int access) {
  return add_region(pd, address, bytes, static_cast<unsigned>(access));
}

ibv_mr* ibv_reg_mr_iova2(ibv_pd* pd, void* address, size_t bytes, uint64_t iova, unsigned access) {
  if (iova != reinterpret_cast<uint64_t>(address)) return invalid<ibv_mr>();  // not emulated
  return add_region(pd, address, bytes, access);
}

int ibv_dereg_mr(ibv_mr* mr) {
  const Locked net;
  net->pump();
  auto* region = static_cast<Region*>(mr);
  net->regions.erase(region->rkey);
  --static_cast<Domain*>(region->pd)->users;
  delete region;
  --net->objects;
  return 0;
}

ibv_ah* ibv_create_ah(ibv_pd* pd, ibv_ah_attr* attributes) {
  const Locked net;
  // rdma-core, mlx5_create_ah: no such port; no GRH where the port wants one.
  if (attributes->port_num != kPort) return invalid<ibv_ah>();
  if (attributes->is_global == 0 && net->options.ethernet) return invalid<ibv_ah>();
  if (attributes->is_global != 0 && attributes->grh.sgid_index != 0) return invalid<ibv_ah>();
  auto* address = new Address{};
  address->context = pd->context;
  address->pd = pd;
  address->attributes = *attributes;
  ++static_cast<Domain*>(pd)->users;
  ++net->objects;
  return address;
}

int ibv_destroy_ah(ibv_ah* ah) {
  const Locked net;
  auto* address = static_cast<Address*>(ah);
  --static_cast<Domain*>(address->pd)->users;
  delete address;
  --net->objects;
  return 0;
}
