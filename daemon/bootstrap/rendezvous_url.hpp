// SPDX-License-Identifier: Apache-2.0
// What stands behind --rendezvous.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace copykv::bootstrap {

enum class Scheme : uint8_t { none, file, tcp, pmix };

struct RendezvousUrl {
  Scheme scheme = Scheme::none;
  std::string dir{};   ///< file: absolute
  std::string host{};  ///< tcp: a name or an address, without the brackets of v6
  uint16_t port = 0;   ///< tcp: never 0

  /// "host:port", "[::1]:port": for messages.
  [[nodiscard]] std::string where() const;
  /// Whether nobody outside this machine can come: localhost, 127.0.0.0/8, ::1.
  [[nodiscard]] bool is_loopback() const;
};

/// Empty text is "none".
[[nodiscard]] Outcome<RendezvousUrl> parse_rendezvous(std::string_view text);

}  // namespace copykv::bootstrap
