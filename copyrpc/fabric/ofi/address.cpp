// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/ofi/address.hpp"

#include <fmt/format.h>

#include <cstring>

#include "base/entropy.hpp"

namespace copyrpc::ofi {
namespace {

using copykv::Failure;
using copykv::Outcome;

constexpr char kVersion = 1;
constexpr size_t kHeaderBytes = 1 + 1 + sizeof(Identity) + 1;

}  // namespace

Identity random_identity() {
  Identity identity;
  const std::array<uint64_t, 2> words = {copykv::random_word(), copykv::random_word()};
  static_assert(sizeof(words) == sizeof(identity));
  std::memcpy(identity.data(), words.data(), sizeof(words));
  return identity;
}

Outcome<std::string> encode_address(const EndpointAddress& address) {
  if (kHeaderBytes + address.raw.size() > kAddressBytesMax)
    return Failure{
        fmt::format("an endpoint address of {} bytes is too long to be exchanged; {} "
                    "is the limit",
                    address.raw.size(), kAddressBytesMax - kHeaderBytes)};
  std::string bytes;
  bytes += kVersion;
  bytes += address.connected ? 'c' : 'u';
  bytes.append(address.identity.data(), address.identity.size());
  bytes += static_cast<char>(address.raw.size());
  bytes += address.raw;
  return bytes;
}

Outcome<EndpointAddress> decode_address(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || bytes[0] != kVersion ||
      bytes.size() != kHeaderBytes + static_cast<unsigned char>(bytes[kHeaderBytes - 1]) ||
      (bytes[1] != 'c' && bytes[1] != 'u'))
    return Failure{
        fmt::format("{} bytes that are no libfabric endpoint address; every rank of a "
                    "job must use the same transport and version",
                    bytes.size())};
  EndpointAddress address;
  address.connected = bytes[1] == 'c';
  std::memcpy(address.identity.data(), bytes.data() + 2, address.identity.size());
  address.raw = bytes.substr(kHeaderBytes);
  return address;
}

}  // namespace copyrpc::ofi
