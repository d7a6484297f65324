// SPDX-License-Identifier: Apache-2.0
// What arrives over the attach socket and what stands in a segment's header: no bytes may crash the
// checks, and what they accept must be in bounds.
#include "shm/handshake.hpp"

#include <cstring>
#include <vector>

#include "tests/fuzz/input.hpp"

namespace {

using namespace copykv;
using fuzz::require;

void hello(std::span<const uint8_t> message) {
  std::string text;
  const Refusal refusal = check_hello(message.data(), message.size(), text);
  require((refusal == Refusal::none) == text.empty(), "a refusal has a reason");
  if (refusal != Refusal::none) return;
  Hello accepted;
  require(message.size() == sizeof(accepted), "an accepted hello is whole");
  std::memcpy(&accepted, message.data(), sizeof(accepted));
  const SegmentGeometry geometry{63, kDaemonsMax, accepted.queue_depth, accepted.slot_payload_bytes,
                                 accepted.bulk_bytes_max};
  require(geometry.is_valid(), "an accepted hello makes a valid segment");
  require(geometry.segment_bytes() > geometry.bulk_bytes_max, "its size does not wrap");
}

void bulk_request(std::span<const uint8_t> message) {
  if (!check_bulk_request(message.data(), message.size())) return;
  require(message.size() == sizeof(BulkRequest), "an accepted bulk request is whole");
}

// The header may say anything; the mapping has what it has.
void segment(std::span<const uint8_t> header, uint32_t pages, bool honest_start) {
  std::vector<uint64_t> memory(pages * kPageBytes / 8);
  const size_t bytes = std::min(header.size(), memory.size() * 8);
  auto* base = reinterpret_cast<std::byte*>(memory.data());
  if (bytes > 0) std::memcpy(base, header.data(), bytes);
  if (honest_start && pages > 0) {  // past the first checks, into the sizes
    auto& own = *reinterpret_cast<SegmentHeader*>(base);
    own.magic = kSegmentMagic;
    own.abi_major = kAbiMajor;
    own.fingerprint = layout_fingerprint();
    own.ready = 1;
  }
  SegmentGeometry geometry;
  const std::string error = check_segment(base, memory.size() * 8, geometry);
  if (!error.empty()) return;
  require(geometry.is_valid(), "an accepted segment has valid sizes");
  require(geometry.segment_bytes() <= memory.size() * 8, "an accepted segment fits its mapping");
  require(geometry.control_offset() + sizeof(ClientControl) <= geometry.lanes_offset(),
          "control stands before the lanes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  fuzz::Input input(data, bytes);
  const uint32_t which = input.take<uint8_t>();
  switch (which % 4) {
    case 0:
      hello(input.rest());
      break;
    case 1:
      bulk_request(input.rest());
      break;
    default:
      segment(input.rest(), which / 4 % 16, which % 4 == 3);
  }
  return 0;
}
