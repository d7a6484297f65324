// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/memory.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "base/log.hpp"
#include "base/units.hpp"
#include "copyrpc/fabric/verbs/errors.hpp"

namespace copyrpc::verbs {
namespace {

unsigned access_flags(Access access, bool relaxed_ordering) noexcept {
  unsigned flags = IBV_ACCESS_LOCAL_WRITE;  // reads put their data there
  if (access != Access::local) flags |= IBV_ACCESS_REMOTE_WRITE;
  if (access == Access::remote_read_write) flags |= IBV_ACCESS_REMOTE_READ;
  if (relaxed_ordering) flags |= IBV_ACCESS_RELAXED_ORDERING;
  return flags;
}

}  // namespace

copykv::Outcome<Memory> register_memory(const Device& device, std::byte* base, uint64_t bytes,
                                        Access access, bool relaxed_ordering) {
  errno = 0;
  ibv_mr* region =
      ibv_reg_mr(device.domain.get(), base, bytes, access_flags(access, relaxed_ordering));
  if (region == nullptr)
    return failure(device.name, fmt::format("ibv_reg_mr of {}", copykv::format_bytes(bytes)),
                   errno);
  Memory memory;
  memory.base = base;
  memory.bytes = bytes;
  memory.handle = region;
  if (access != Access::local)
    memory.remote = {reinterpret_cast<uint64_t>(base), region->rkey, bytes};
  return memory;
}

void deregister(const Device& device, Memory& memory) noexcept {
  if (memory.handle == nullptr) return;
  if (const int error = ibv_dereg_mr(static_cast<ibv_mr*>(memory.handle)); error != 0)
    copykv::log_error("{}", failure(device.name, "ibv_dereg_mr", error).line);
  memory = {};
}

}  // namespace copyrpc::verbs
