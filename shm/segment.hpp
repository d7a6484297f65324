// SPDX-License-Identifier: Apache-2.0
// The memory that one client shares with the daemons of its rank: one sealed memfd per client, made
// by the daemon, never reused for another client.
//
// LAYOUT
//   0               SegmentHeader      written by the daemon before the client sees it
//   control_offset  ClientControl      written by the client (its sleep announcement)
//   lanes_offset    D lanes, each Q slots of 256 B in ring order
//   payload_offset  D x Q payload areas of slot_payload_bytes, page-aligned
//   bulk_offset     bulk_bytes_max bytes; only what was granted has memory behind it
//
// Page colouring: control and lanes start (client number mod 64) lines into their page. Without it
// slot 0 of every client falls into the same L1 set, and a scan over many lanes misses each time.
//
// TRUST  The daemon never reads the header again; it keeps its own copy of the geometry.
// PROVED BY  tests/unit/shm/segment_test, tests/unit/client/attach_test (bad headers).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "shm/slot.hpp"

namespace copykv {

inline constexpr uint64_t kSegmentMagic = 0x6765735f766b7063;  // "cpkv_seg"
inline constexpr uint16_t kAbiMajor = 1;
inline constexpr uint16_t kAbiMinor = 0;
inline constexpr uint32_t kPageBytes = 4096;
inline constexpr uint32_t kDaemonsMax = 64;
inline constexpr uint32_t kSlotPayloadBytesMin = 4096;
inline constexpr uint32_t kSlotPayloadBytesMax = 65536;

struct SegmentHeader {
  uint64_t magic;
  uint16_t abi_major;
  uint16_t abi_minor;
  uint32_t header_bytes;
  uint64_t fingerprint;  ///< layout_fingerprint() of the side that made the segment
  uint64_t segment_bytes;
  uint64_t epoch;  ///< of the daemon process
  uint32_t client_number;
  uint32_t lane_count;
  uint32_t queue_depth;
  uint32_t slot_payload_bytes;
  uint64_t control_offset;
  uint64_t lanes_offset;
  uint64_t payload_offset;
  uint64_t bulk_offset;
  uint64_t bulk_bytes_max;
  uint32_t ready;  ///< 1, published last
  uint32_t reserved;
};
static_assert(sizeof(SegmentHeader) == 104);

/// The client's side of the sleep protocol (shm/wake.hpp). A line of its own.
struct alignas(kCacheLineBytes) ClientControl {
  uint32_t sleeping;  ///< 1: wake me after the next answer (futex word)
};
static_assert(sizeof(ClientControl) == kCacheLineBytes);

/// Where everything stands, computed alike by both sides from five numbers.
struct SegmentGeometry {
  uint32_t client_number = 0;
  uint32_t lane_count = 1;
  uint32_t queue_depth = 1;
  uint32_t slot_payload_bytes = kSlotPayloadBytesMin;
  uint64_t bulk_bytes_max = 0;

  [[nodiscard]] constexpr uint64_t control_offset() const noexcept {
    return kPageBytes + uint64_t{client_number % 64} * kCacheLineBytes;
  }
  [[nodiscard]] constexpr uint64_t lanes_offset() const noexcept {
    return control_offset() + 2 * sizeof(ClientControl);  // not the lanes' prefetch pair
  }
  [[nodiscard]] constexpr uint64_t lane_offset(uint32_t lane) const noexcept {
    return lanes_offset() + uint64_t{lane} * queue_depth * sizeof(Slot);
  }
  [[nodiscard]] constexpr uint64_t payload_offset() const noexcept {
    return (lane_offset(lane_count) + kPageBytes - 1) / kPageBytes * kPageBytes;
  }
  [[nodiscard]] constexpr uint64_t slot_payload_offset(uint32_t lane,
                                                       uint32_t slot) const noexcept {
    return payload_offset() + (uint64_t{lane} * queue_depth + slot) * slot_payload_bytes;
  }
  [[nodiscard]] constexpr uint64_t bulk_offset() const noexcept {
    return slot_payload_offset(lane_count, 0);
  }
  [[nodiscard]] constexpr uint64_t segment_bytes() const noexcept {
    return bulk_offset() + bulk_bytes_max;
  }
  /// Whether the numbers are within the limits of this ABI.
  [[nodiscard]] bool is_valid() const noexcept;
};

/// FNV-1a over size and offsets of every struct that two processes share: two builds whose layouts
/// differ refuse each other instead of misreading memory.
[[nodiscard]] uint64_t layout_fingerprint() noexcept;

/// Daemon: fills the header of a zeroed segment and publishes `ready`.
void write_segment_header(SegmentHeader& header, const SegmentGeometry& geometry,
                          uint64_t epoch) noexcept;

/// Client: checks a mapped segment of `mapped_bytes` bytes. Returns an empty string and fills
/// `geometry`, or one line that says what is wrong and what to do.
[[nodiscard]] std::string check_segment(const void* segment, uint64_t mapped_bytes,
                                        SegmentGeometry& geometry);

}  // namespace copykv
