// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <cstring>
#include <memory>

#include "base/entropy.hpp"

namespace copyrpc::verbs {
namespace {

using copykv::Failure;
using copykv::Outcome;

constexpr char kVersion = 1;
constexpr size_t kAddressBytes = 1 + 1 + sizeof(Identity) + sizeof(IpAddress) + 2;
constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

IpAddress mapped(const in_addr& address) noexcept {
  IpAddress ip;
  std::memcpy(ip.data(), kMappedPrefix.data(), kMappedPrefix.size());
  std::memcpy(ip.data() + kMappedPrefix.size(), &address, sizeof(address));
  return ip;
}

bool parse_ip(const std::string& text, IpAddress& ip) noexcept {
  in_addr v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    ip = mapped(v4);
    return true;
  }
  return inet_pton(AF_INET6, text.c_str(), ip.data()) == 1;
}

bool usable(const ifaddrs& one, const std::string& name) noexcept {
  if (one.ifa_addr == nullptr || one.ifa_addr->sa_family != AF_INET) return false;
  if (!name.empty()) return name == one.ifa_name;
  return (one.ifa_flags & IFF_UP) != 0 && (one.ifa_flags & IFF_LOOPBACK) == 0;
}

}  // namespace

Identity random_identity() noexcept {
  const std::array<uint64_t, 2> words = {copykv::random_word(), copykv::random_word()};
  Identity identity;
  static_assert(sizeof(words) == sizeof(identity));
  std::memcpy(identity.data(), words.data(), sizeof(words));
  return identity;
}

std::string encode_address(const EndpointAddress& address) {
  std::string bytes;
  bytes += kVersion;
  bytes += static_cast<char>(address.kind);
  bytes.append(address.identity.data(), address.identity.size());
  bytes.append(reinterpret_cast<const char*>(address.ip.data()), address.ip.size());
  bytes += static_cast<char>(address.port >> 8);
  bytes += static_cast<char>(address.port & 0xff);
  return bytes;
}

Outcome<EndpointAddress> decode_address(std::string_view bytes, Kind expected) {
  if (bytes.size() != kAddressBytes || bytes[0] != kVersion ||
      bytes[1] != static_cast<char>(expected))
    return Failure{fmt::format(
        "{} bytes that are no address of a verbs endpoint of this kind; every rank of a job must "
        "use the same --transport and version",
        bytes.size())};
  EndpointAddress address;
  address.kind = expected;
  const char* at = bytes.data() + 2;
  std::memcpy(address.identity.data(), at, sizeof(Identity));
  at += sizeof(Identity);
  std::memcpy(address.ip.data(), at, sizeof(IpAddress));
  at += sizeof(IpAddress);
  address.port =
      static_cast<uint16_t>((static_cast<uint8_t>(at[0]) << 8) | static_cast<uint8_t>(at[1]));
  return address;
}

Outcome<IpAddress> local_ip(const std::string& text) {
  IpAddress ip{};
  if (!text.empty() && parse_ip(text, ip)) return ip;
  ifaddrs* listed = nullptr;
  if (getifaddrs(&listed) != 0) return Failure{fmt::format("getifaddrs: {}", std::strerror(errno))};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(listed, &freeifaddrs);
  for (const ifaddrs* one = listed; one != nullptr; one = one->ifa_next)
    if (usable(*one, text))
      return mapped(reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr);
  if (text.empty())
    return Failure{"no network interface with an IPv4 address is up; name one with --address"};
  return Failure{
      fmt::format("--address {}: neither an IP address nor a network interface with one", text)};
}

std::string ip_text(const IpAddress& ip) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const bool v4 = std::memcmp(ip.data(), kMappedPrefix.data(), kMappedPrefix.size()) == 0;
  (void)inet_ntop(v4 ? AF_INET : AF_INET6, ip.data() + (v4 ? kMappedPrefix.size() : 0), text.data(),
                  text.size());
  return text.data();
}

}  // namespace copyrpc::verbs
