// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/wire.hpp"

#include <fmt/format.h>

#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace copyrpc {

using copykv::Failure;
using copykv::Outcome;

namespace {

constexpr uint32_t kCardMagic = 0x6463'7263;  // "crcd"
constexpr size_t kAddressBytesMax = 128;

struct CardHead {
  uint32_t magic;
  uint16_t version;
  uint16_t address_bytes;
  uint32_t node;
  uint32_t reserved;
  uint64_t incarnation;
  RemoteMemory mailbox;
};
static_assert(sizeof(CardHead) == 48);

}  // namespace

std::string Card::pack() const {
  const CardHead head{kCardMagic,  kWireVersion, static_cast<uint16_t>(address.size()), node, 0,
                      incarnation, mailbox};
  std::string bytes(sizeof(head), '\0');
  std::memcpy(bytes.data(), &head, sizeof(head));
  return bytes + address;
}

Outcome<Card> Card::unpack(std::string_view bytes) {
  CardHead head{};
  if (bytes.size() < sizeof(head)) {
    return Failure{fmt::format("a card of {} B is too short", bytes.size())};
  }
  std::memcpy(&head, bytes.data(), sizeof(head));
  if (head.magic != kCardMagic) return Failure{"this is not the card of a copyrpc node"};
  if (head.version != kWireVersion) {
    return Failure{
        fmt::format("the peer speaks wire version {}, this program {}; run the same "
                    "version of copykv on every rank",
                    head.version, kWireVersion)};
  }
  if (head.address_bytes > kAddressBytesMax || bytes.size() != sizeof(head) + head.address_bytes ||
      head.node >= kNodesMax || head.incarnation == 0) {
    return Failure{"a card with impossible fields"};
  }
  return Card{head.node, head.incarnation, head.mailbox, std::string(bytes.substr(sizeof(head)))};
}

uint64_t checksum_of(const Hello& hello) noexcept {
  return XXH3_64bits(&hello, offsetof(Hello, checksum));
}

}  // namespace copyrpc
