// SPDX-License-Identifier: Apache-2.0
// The sockets of the side channel: TCP, non-blocking, with keep-alive, so that the end of a host
// that says nothing more is noticed, too.
#pragma once

#include <cstdint>
#include <span>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "copyrpc/fabric/verbs/address.hpp"

namespace copyrpc::verbs {

struct Listener {
  copykv::Fd fd;
  uint16_t port = 0;
};
[[nodiscard]] copykv::Outcome<Listener> listen_at(const IpAddress& ip);

/// Begins; the socket is writable when it is through, or has an error.
[[nodiscard]] copykv::Outcome<copykv::Fd> begin_connect(const IpAddress& from, const IpAddress& to,
                                                        uint16_t port);
/// An empty descriptor: nobody is waiting.
[[nodiscard]] copykv::Fd accept_one(int listener) noexcept;
/// 0, or why the connection could not be made.
[[nodiscard]] int connect_error(int fd) noexcept;

}  // namespace copyrpc::verbs
