// SPDX-License-Identifier: Apache-2.0
#include "daemon/bootstrap/rendezvous_url.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include "base/units.hpp"

namespace copykv::bootstrap {
namespace {

constexpr size_t kHostBytesMax = 255;

Outcome<RendezvousUrl> refuse(std::string_view text, std::string_view why) {
  return Failure{fmt::format(
      "--rendezvous '{}': {}; use tcp://host:port, file:///dir, pmix or none", text, why)};
}

Outcome<RendezvousUrl> parse_tcp(std::string_view text, std::string_view rest) {
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == rest.size()) {
    return refuse(text, "the port is missing");
  }
  std::string_view host = rest.substr(0, colon);
  const bool in_brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (in_brackets) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return refuse(text, "an IPv6 address stands in brackets, [::1]:port");
  }
  if (host.empty() || host.size() > kHostBytesMax ||
      host.find_first_of(" /@[]") != std::string_view::npos) {
    return refuse(text, "the host is no host");
  }
  const Outcome<uint64_t> port = parse_count(rest.substr(colon + 1), UINT16_MAX);
  if (!port || *port == 0) return refuse(text, "the port is no number from 1 to 65535");
  return RendezvousUrl{Scheme::tcp, {}, std::string(host), static_cast<uint16_t>(*port)};
}

}  // namespace

std::string RendezvousUrl::where() const {
  if (host.find(':') != std::string::npos) return fmt::format("[{}]:{}", host, port);
  return fmt::format("{}:{}", host, port);
}

bool RendezvousUrl::is_loopback() const {
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return host == "localhost" || host == "::1";
}

Outcome<RendezvousUrl> parse_rendezvous(std::string_view text) {
  constexpr std::string_view kFile = "file://";
  constexpr std::string_view kTcp = "tcp://";
  if (text.empty() || text == "none") return RendezvousUrl{};
  if (text == "pmix") return RendezvousUrl{Scheme::pmix};
  if (text.starts_with(kFile)) {
    const std::string_view dir = text.substr(kFile.size());
    if (!dir.starts_with('/') || dir.find('\0') != std::string_view::npos) {
      return refuse(text, "the directory must be absolute, with three slashes");
    }
    return RendezvousUrl{Scheme::file, std::string(dir)};
  }
  if (text.starts_with(kTcp)) return parse_tcp(text, text.substr(kTcp.size()));
  return refuse(text, "no such way to meet");
}

}  // namespace copykv::bootstrap
