// SPDX-License-Identifier: Apache-2.0
#include "shm/segment.hpp"

#include <fmt/format.h>

#include <initializer_list>

#include "shm/handshake.hpp"
#include "shm/rank_page.hpp"

namespace copykv {

bool SegmentGeometry::is_valid() const noexcept {
  return lane_count >= 1 && lane_count <= kDaemonsMax && queue_depth >= 1 &&
         queue_depth <= kQueueDepthMax && slot_payload_bytes >= kSlotPayloadBytesMin &&
         slot_payload_bytes <= kSlotPayloadBytesMax && slot_payload_bytes % kPageBytes == 0 &&
         bulk_bytes_max % kPageBytes == 0 && bulk_bytes_max <= (uint64_t{1} << 40);
}

uint64_t layout_fingerprint() noexcept {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const size_t value : {sizeof(RequestLine),
                             offsetof(RequestLine, head),
                             offsetof(RequestLine, value_bytes),
                             offsetof(RequestLine, user_flags),
                             offsetof(RequestLine, argument),
                             offsetof(RequestLine, ttl_ms),
                             offsetof(RequestLine, owner),
                             offsetof(RequestLine, data),
                             sizeof(ResponseLine),
                             offsetof(ResponseLine, head),
                             offsetof(ResponseLine, value_bytes),
                             offsetof(ResponseLine, user_flags),
                             offsetof(ResponseLine, version),
                             offsetof(ResponseLine, data),
                             sizeof(Slot),
                             offsetof(Slot, request),
                             offsetof(Slot, response),
                             sizeof(SegmentHeader),
                             offsetof(SegmentHeader, control_offset),
                             offsetof(SegmentHeader, bulk_bytes_max),
                             offsetof(SegmentHeader, ready),
                             sizeof(ClientControl),
                             offsetof(ClientControl, sleeping),
                             sizeof(RankHeader),
                             offsetof(RankHeader, partition_owner),
                             sizeof(DaemonBlock),
                             offsetof(DaemonBlock, sleeping),
                             offsetof(DaemonBlock, turns),
                             offsetof(DaemonBlock, phases),
                             sizeof(Hello),
                             offsetof(Hello, bulk_bytes_max),
                             sizeof(Welcome),
                             offsetof(Welcome, text),
                             sizeof(BulkRequest),
                             sizeof(BulkGrant),
                             static_cast<size_t>(kOpLast),
                             static_cast<size_t>(kStatusCount)}) {
    for (uint32_t byte = 0; byte < sizeof(value); ++byte) {
      hash = (hash ^ ((value >> (8 * byte)) & 0xff)) * 0x100000001b3ULL;
    }
  }
  return hash;
}

void write_segment_header(SegmentHeader& header, const SegmentGeometry& geometry,
                          uint64_t epoch) noexcept {
  header.magic = kSegmentMagic;
  header.abi_major = kAbiMajor;
  header.abi_minor = kAbiMinor;
  header.header_bytes = sizeof(SegmentHeader);
  header.fingerprint = layout_fingerprint();
  header.segment_bytes = geometry.segment_bytes();
  header.epoch = epoch;
  header.client_number = geometry.client_number;
  header.lane_count = geometry.lane_count;
  header.queue_depth = geometry.queue_depth;
  header.slot_payload_bytes = geometry.slot_payload_bytes;
  header.control_offset = geometry.control_offset();
  header.lanes_offset = geometry.lanes_offset();
  header.payload_offset = geometry.payload_offset();
  header.bulk_offset = geometry.bulk_offset();
  header.bulk_bytes_max = geometry.bulk_bytes_max;
  publish<uint32_t>(header.ready, 1);
}

std::string check_segment(const void* segment, uint64_t mapped_bytes, SegmentGeometry& geometry) {
  const std::string remedy = "; use a client library and a copykvd of the same release";
  if (mapped_bytes < kPageBytes) {
    return fmt::format("segment is truncated: {} B{}", mapped_bytes, remedy);
  }
  const auto& header = *static_cast<const SegmentHeader*>(segment);
  if (header.magic != kSegmentMagic) return "segment has no copykv magic" + remedy;
  if (observe(header.ready) != 1) return "segment is not ready: its daemon died while making it";
  if (header.abi_major != kAbiMajor) {
    return fmt::format("segment has ABI {}.{}, this library {}.{}{}", header.abi_major,
                       header.abi_minor, kAbiMajor, kAbiMinor, remedy);
  }
  if (header.fingerprint != layout_fingerprint()) {
    return fmt::format("segment layout {:016x} differs from this library's {:016x}{}",
                       header.fingerprint, layout_fingerprint(), remedy);
  }
  geometry = {header.client_number, header.lane_count, header.queue_depth,
              header.slot_payload_bytes, header.bulk_bytes_max};
  if (!geometry.is_valid()) return "segment sizes are out of range" + remedy;
  if (geometry.segment_bytes() != header.segment_bytes || header.segment_bytes > mapped_bytes ||
      geometry.control_offset() != header.control_offset ||
      geometry.lanes_offset() != header.lanes_offset ||
      geometry.payload_offset() != header.payload_offset ||
      geometry.bulk_offset() != header.bulk_offset) {
    return fmt::format("segment is truncated or inconsistent: {} B mapped, {} B needed{}",
                       mapped_bytes, geometry.segment_bytes(), remedy);
  }
  return {};
}

}  // namespace copykv
