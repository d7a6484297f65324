// SPDX-License-Identifier: Apache-2.0
// The address of an endpoint as it travels through the bootstrap:
//
//   bytes  field
//       1  version (1)
//       1  endpoint type: 'c' connected, 'u' unconnected
//      16  identity: random, new with every endpoint, so that a restarted process that gets the
//      same
//          network address is another peer
//       1  length n of the provider's address
//       n  the provider's address
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace copyrpc::ofi {

inline constexpr size_t kAddressBytesMax = 128;

using Identity = std::array<char, 16>;

struct EndpointAddress {
  bool connected = false;
  Identity identity{};
  std::string raw;  ///< the provider's
};

[[nodiscard]] Identity random_identity();
/// Fails when the provider's address is too long.
[[nodiscard]] copykv::Outcome<std::string> encode_address(const EndpointAddress& address);
[[nodiscard]] copykv::Outcome<EndpointAddress> decode_address(std::string_view bytes);

}  // namespace copyrpc::ofi
