// SPDX-License-Identifier: Apache-2.0
// The address of an endpoint as it travels through the bootstrap:
//
//   bytes  field
//       1  version (1)
//       1  transport: 'r' rc, 'd' dc
//      16  identity: random, new with every endpoint; knowing it is what a caller is let in for
//      16  IP address of the side channel, IPv4 as ::ffff:a.b.c.d
//       2  port of the side channel, big endian
//
// Everything else that a peer must know (queue numbers, GID, keys) is exchanged over the side
// channel: it belongs to one connection.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace copyrpc::verbs {

using Identity = std::array<char, 16>;
using IpAddress = std::array<uint8_t, 16>;

enum class Kind : char { rc = 'r', dc = 'd' };

struct EndpointAddress {
  Kind kind = Kind::rc;
  Identity identity{};
  IpAddress ip{};
  uint16_t port = 0;
};

[[nodiscard]] Identity random_identity() noexcept;
[[nodiscard]] std::string encode_address(const EndpointAddress& address);
/// Fails when the bytes are none, or of a transport other than `expected`.
[[nodiscard]] copykv::Outcome<EndpointAddress> decode_address(std::string_view bytes,
                                                              Kind expected);

/// An IP address of this host: `text` is one, or names a network interface; empty: the first
/// interface that is up and not the loopback.
[[nodiscard]] copykv::Outcome<IpAddress> local_ip(const std::string& text);
[[nodiscard]] std::string ip_text(const IpAddress& ip);

}  // namespace copyrpc::verbs
