// SPDX-License-Identifier: Apache-2.0
// What a rank says of itself at the rendezvous, and its addresses: no bytes may crash who reads
// them, and what is accepted must be a rank that can be.
#include "copyrpc/fabric/ofi/address.hpp"
#include "daemon/job_card.hpp"
#include "tests/fuzz/input.hpp"

namespace {

using namespace copykv;
using fuzz::require;

void job_card(std::string_view bytes) {
  const auto card = JobCard::unpack(bytes);
  if (!card) return require(!card.error.empty(), "a refusal has a reason");
  require(card->rank < kJobRanksMax, "an accepted card is of a rank that can be");
  require(!card->daemons.empty() && card->daemons.size() <= kRailsMax, "it has daemons");
  for (uint32_t daemon = 0; daemon < card->daemons.size(); ++daemon) {
    require(card->daemons[daemon].node == node_of(card->rank, daemon), "its daemons are its own");
  }
  const auto again = JobCard::unpack(card->pack());
  require(again && again->pack() == card->pack(), "an accepted card survives being sent on");
  // Whatever it says of itself, it is judged against the others without harm.
  const JobCard mine{.rank = 0, .epoch = 1, .value_bytes_max = 1, .transport = "ofi-tcp"};
  (void)check_job({mine, *card}, 0);
}

void node_card(std::string_view bytes) {
  const auto card = copyrpc::Card::unpack(bytes);
  if (!card) return require(!card.error.empty(), "a refusal has a reason");
  require(card->node < copyrpc::kNodesMax && card->incarnation != 0, "a node that can be");
}

void address(std::string_view bytes) {
  const auto decoded = copyrpc::ofi::decode_address(bytes);
  if (!decoded) return require(!decoded.error.empty(), "a refusal has a reason");
  const auto encoded = copyrpc::ofi::encode_address(*decoded);
  require(!encoded || *encoded == bytes, "an accepted address has one spelling");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  fuzz::Input input(data, bytes);
  const uint32_t which = input.take<uint8_t>() % 3;
  const std::string text = input.text(input.rest().size());
  if (which == 0) job_card(text);
  if (which == 1) node_card(text);
  if (which == 2) address(text);
  return 0;
}
