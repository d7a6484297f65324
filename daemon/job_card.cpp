// SPDX-License-Identifier: Apache-2.0
#include "daemon/job_card.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/assert.hpp"
#include "base/bytes.hpp"
#include "base/hash.hpp"
#include "base/units.hpp"

namespace copykv {
namespace {

constexpr uint32_t kMagic = 0x6a63'7663;  // "cvcj"
constexpr uint16_t kVersion = 1;
constexpr size_t kTransportBytesMax = 64;

struct Head {
  uint32_t magic;
  uint16_t version;
  uint16_t daemon_count;
  uint32_t rank;
  uint32_t transport_bytes;
  uint64_t epoch;
  uint64_t value_bytes_max;
};
static_assert(sizeof(Head) == 32);

}  // namespace

std::string JobCard::pack() const {
  const Head head{kMagic,
                  kVersion,
                  static_cast<uint16_t>(daemons.size()),
                  rank,
                  static_cast<uint32_t>(transport.size()),
                  epoch,
                  value_bytes_max};
  ByteWriter bytes;
  bytes.raw({reinterpret_cast<const char*>(&head), sizeof(head)}).raw(transport);
  for (const copyrpc::Card& card : daemons) bytes.text(card.pack());
  return bytes.take();
}

Outcome<JobCard> JobCard::unpack(std::string_view bytes) {
  Head head{};
  if (bytes.size() < sizeof(head)) return Failure{"a rank's card is too short"};
  std::memcpy(&head, bytes.data(), sizeof(head));
  ByteReader rest(bytes.substr(sizeof(head)));
  if (head.magic != kMagic) return Failure{"a rank's card is not of copykv"};
  if (head.version != kVersion) {
    return Failure{
        fmt::format("a rank speaks job version {}, this one {}; run the same version of "
                    "copykv on every rank",
                    head.version, kVersion)};
  }
  if (head.daemon_count == 0 || head.daemon_count > kRailsMax || head.rank >= kJobRanksMax ||
      head.transport_bytes > kTransportBytesMax || head.transport_bytes > rest.left()) {
    return Failure{"a rank's card has impossible fields"};
  }
  JobCard card{.rank = head.rank,
               .epoch = head.epoch,
               .value_bytes_max = head.value_bytes_max,
               .transport = std::string(rest.raw(head.transport_bytes))};
  for (uint32_t daemon = 0; daemon < head.daemon_count; ++daemon) {
    const std::string_view packed = rest.text(static_cast<uint32_t>(rest.left()));
    if (!rest.whole()) return Failure{"a rank's card is cut off"};
    auto node = copyrpc::Card::unpack(packed);
    if (!node) return Failure{node.error};
    if (node->node != node_of(card.rank, daemon)) return Failure{"a card of another rank's daemon"};
    card.daemons.push_back(std::move(*node));
  }
  if (!rest.done()) return Failure{"a rank's card goes on after its end"};
  return card;
}

Outcome<void> check_job(const std::vector<JobCard>& cards, uint32_t own) {
  const JobCard& mine = cards[own];
  for (uint32_t rank = 0; rank < cards.size(); ++rank) {
    const JobCard& card = cards[rank];
    if (card.rank != rank) {
      return Failure{fmt::format("rank {} calls itself rank {}", rank, card.rank)};
    }
    if (card.transport != mine.transport) {
      return Failure{
          fmt::format("rank {} uses transport {}, this rank {}; give every rank the same "
                      "--transport",
                      rank, card.transport, mine.transport)};
    }
    if (card.value_bytes_max != mine.value_bytes_max) {
      return Failure{
          fmt::format("rank {} has --max-value-bytes {}, this rank {}; give every rank "
                      "the same",
                      rank, spell_bytes(card.value_bytes_max), spell_bytes(mine.value_bytes_max))};
    }
  }
  return {};
}

Routing make_routing(const std::vector<uint32_t>& daemons, uint32_t own_rank) {
  const uint32_t total = std::accumulate(daemons.begin(), daemons.end(), 0U);
  const uint32_t before =
      std::accumulate(daemons.begin(), daemons.begin() + static_cast<ptrdiff_t>(own_rank), 0U);
  const uint32_t own_daemons = daemons[own_rank];
  COPYKV_ASSERT(total > 0 && own_daemons > 0, "total={} own={}", total, own_daemons);
  Routing routing;
  routing.owners.resize(total);
  routing.nodes.resize(total);
  uint32_t place = 0;
  for (uint32_t rank = 0; rank < daemons.size(); ++rank) {
    for (uint32_t daemon = 0; daemon < daemons[rank]; ++daemon, ++place) {
      const uint32_t owner = (place + total - before) % total;
      routing.owners[owner] = {static_cast<uint16_t>(rank), static_cast<uint8_t>(daemon),
                               static_cast<uint8_t>(daemon % own_daemons)};
      routing.nodes[owner] = node_of(rank, daemon);
    }
  }
  for (uint32_t partition = 0; partition < kPartitionCount; ++partition) {
    const uint32_t owner = (partition % total + total - before) % total;
    routing.partition_owner.push_back(static_cast<uint16_t>(owner));
    routing.partition_rail.push_back(routing.owners[owner].rail);
  }
  return routing;
}

void Routing::write_to(RankHeader& page) const {
  page.owner_count = static_cast<uint32_t>(owners.size());
  std::copy(owners.begin(), owners.end(), page.owners);
  std::copy(partition_owner.begin(), partition_owner.end(), page.partition_owner);
  std::copy(partition_rail.begin(), partition_rail.end(), page.partition_rail);
}

}  // namespace copykv
