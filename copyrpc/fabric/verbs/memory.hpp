// SPDX-License-Identifier: Apache-2.0
// Registering memory. The keys are the device's.
#pragma once

#include "copyrpc/fabric/fabric.hpp"
#include "copyrpc/fabric/verbs/device.hpp"

namespace copyrpc::verbs {

[[nodiscard]] copykv::Outcome<Memory> register_memory(const Device& device, std::byte* base,
                                                      uint64_t bytes, Access access,
                                                      bool relaxed_ordering);
void deregister(const Device& device, Memory& memory) noexcept;

/// What a post's local part is named by.
[[nodiscard]] inline uint32_t local_key(const Memory& memory) noexcept {
  return static_cast<const ibv_mr*>(memory.handle)->lkey;
}
/// A peer's key as the device takes it; false: it is none of a verbs device.
[[nodiscard]] inline bool remote_key(const RemoteMemory& memory, uint32_t& key) noexcept {
  key = static_cast<uint32_t>(memory.key);
  return memory.key == key;
}

}  // namespace copyrpc::verbs
