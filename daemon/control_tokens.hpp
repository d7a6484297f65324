// SPDX-License-Identifier: Apache-2.0
// What an epoll event is about: a client's socket, a client's process, or one of the daemon's own.
#pragma once

#include <cstdint>

namespace copykv {

inline constexpr uint64_t kListenerToken = UINT64_MAX;
inline constexpr uint64_t kSignalToken = UINT64_MAX - 1;
inline constexpr uint64_t kBootstrapToken = UINT64_MAX - 2;
inline constexpr uint64_t kPidfdBit = uint64_t{1} << 32;

[[nodiscard]] constexpr uint64_t socket_token(uint32_t number) noexcept {
  return number;
}
[[nodiscard]] constexpr uint64_t pidfd_token(uint32_t number) noexcept {
  return number | kPidfdBit;
}

}  // namespace copykv
