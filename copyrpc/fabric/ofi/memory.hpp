// SPDX-License-Identifier: Apache-2.0
// Registering memory: keys that cannot be guessed, and the differences between providers.
#pragma once

#include "copyrpc/fabric/fabric.hpp"
#include "copyrpc/fabric/ofi/provider.hpp"

namespace copyrpc::ofi {

/// `endpoint`: the one that remote accesses come through, where the provider wants it named.
[[nodiscard]] copykv::Outcome<Memory> register_memory(Domain& domain, fid_ep* endpoint,
                                                      std::byte* base, uint64_t bytes,
                                                      Access access);
void deregister(Memory& memory) noexcept;

/// What a post's local part passes to libfabric.
[[nodiscard]] inline void* descriptor_of(const Memory& memory) noexcept {
  return memory.handle == nullptr ? nullptr : fi_mr_desc(static_cast<fid_mr*>(memory.handle));
}

}  // namespace copyrpc::ofi
