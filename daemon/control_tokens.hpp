// SPDX-License-Identifier: Apache-2.0
// What an epoll event is about: a client's socket, a client's process, a connection that has not
// said hello yet, or one of the daemon's own.
#pragma once

#include <cstdint>

namespace copykv {

inline constexpr uint64_t kListenerToken = UINT64_MAX;
inline constexpr uint64_t kSignalToken = UINT64_MAX - 1;
inline constexpr uint64_t kBootstrapToken = UINT64_MAX - 2;
inline constexpr uint64_t kPidfdBit = uint64_t{1} << 32;

inline constexpr uint64_t kArrivalBit = uint64_t{1} << 62;

[[nodiscard]] constexpr uint64_t socket_token(uint32_t number) noexcept {
  return number;
}
[[nodiscard]] constexpr uint64_t pidfd_token(uint32_t number) noexcept {
  return number | kPidfdBit;
}
/// `id` counts from 1 and is never used again.
[[nodiscard]] constexpr uint64_t arrival_token(uint64_t id) noexcept {
  return id | kArrivalBit;
}
/// Of a token that is none of the daemon's own; 0: it is of a client.
[[nodiscard]] constexpr uint64_t arrival_of(uint64_t token) noexcept {
  return (token & kArrivalBit) != 0 ? token & ~kArrivalBit : 0;
}

}  // namespace copykv
