// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/ofi/memory.hpp"

#include "base/entropy.hpp"

namespace copyrpc::ofi {
namespace {

using copykv::Outcome;

constexpr uint32_t kKeyAttempts = 8;  ///< two random keys may be equal where keys are short

uint64_t access_flags(Access access) noexcept {
  uint64_t flags = FI_READ | FI_WRITE;
  if (access != Access::local) flags |= FI_REMOTE_WRITE;
  if (access == Access::remote_read_write) flags |= FI_REMOTE_READ;
  return flags;
}

/// Random, with as many bits as the provider carries: a late write with the key of memory that is
/// gone must not fit what took its place.
uint64_t new_key(const fi_info& info) noexcept {
  const size_t bits = info.domain_attr->mr_key_size * 8;
  const uint64_t word = copykv::random_word();
  return bits >= 64 ? word : word & ((uint64_t{1} << bits) - 1);
}

}  // namespace

Outcome<Memory> register_memory(Domain& domain, fid_ep* endpoint, std::byte* base, uint64_t bytes,
                                Access access) {
  const auto mode = static_cast<uint64_t>(domain.info->domain_attr->mr_mode);
  Memory memory;
  memory.base = base;
  memory.bytes = bytes;
  if (access == Access::local && (mode & FI_MR_LOCAL) == 0) return memory;

  fid_mr* region = nullptr;
  int error = -FI_ENOKEY;
  for (uint32_t attempt = 0; attempt < kKeyAttempts && error == -FI_ENOKEY; ++attempt) {
    const uint64_t key = (mode & FI_MR_PROV_KEY) != 0 ? 0 : new_key(*domain.info);
    error = fi_mr_reg(domain.domain.get(), base, bytes, access_flags(access), 0, key, 0, &region,
                      nullptr);
  }
  if (error != 0) return failure(domain, "fi_mr_reg", error);
  memory.handle = region;
  if ((mode & FI_MR_ENDPOINT) != 0) {
    error = endpoint == nullptr ? -FI_ENOSYS : fi_mr_bind(region, &endpoint->fid, 0);
    if (error == 0) error = fi_mr_enable(region);
  }
  if (error == 0 && fi_mr_key(region) == FI_KEY_NOTAVAIL) error = -FI_ENOKEY;
  if (error != 0) {
    deregister(memory);
    return failure(domain, "fi_mr_enable", error);
  }
  if (access != Access::local)
    memory.remote = {(mode & FI_MR_VIRT_ADDR) != 0 ? reinterpret_cast<uint64_t>(base) : 0,
                     fi_mr_key(region), bytes};
  return memory;
}

void deregister(Memory& memory) noexcept {
  if (memory.handle != nullptr) (void)fi_close(&static_cast<fid_mr*>(memory.handle)->fid);
  memory = {};
}

}  // namespace copyrpc::ofi
