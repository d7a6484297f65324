// SPDX-License-Identifier: Apache-2.0
// The control thread's record of each attached client, and its segment's memory.
//
// LIFE  attached -> leaving (socket gone, lanes closing) -> gone.
//   A segment is unmapped only after every daemon has published that its lane is closed.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/fd.hpp"
#include "daemon/lane.hpp"
#include "shm/handshake.hpp"
#include "shm/mapping.hpp"

namespace copykv {

struct ClientRecord {
  enum class State : uint8_t { attached, leaving };

  State state = State::attached;
  uint32_t number = 0;  ///< lane id at every daemon
  int pid = 0;
  Fd socket;
  Fd pidfd;
  boost::interprocess::mapped_region mapping;
  Fd memory;  ///< the memfd; kept for growing the bulk area
  SegmentGeometry geometry{};
  bool fence_free = false;
  uint32_t close_sent = 0;                     ///< daemons that were told
  uint64_t bulk_bytes_granted = 0;             ///< published; daemons observe it
  std::array<uint32_t, kDaemonsMax> closed{};  ///< published by the daemons

  /// Makes, maps, populates and seals the segment. Everything the daemon will touch has memory
  /// behind it afterwards, so that no daemon thread faults or gets SIGBUS.
  [[nodiscard]] Outcome<void> make_segment(const SegmentGeometry& with, uint64_t epoch);

  /// Puts memory behind the first `bytes` of the bulk area; empty, or why not.
  [[nodiscard]] std::string grow_bulk(uint64_t bytes);

  [[nodiscard]] std::byte* base() const noexcept {
    return static_cast<std::byte*>(mapping.get_address());
  }
  /// What the segment has memory behind, as far as the daemon gave it.
  [[nodiscard]] uint64_t bytes() const noexcept {
    return geometry.bulk_offset() + bulk_bytes_granted;
  }
  [[nodiscard]] LaneSetup lane(uint32_t daemon) noexcept;
  [[nodiscard]] bool all_closed() const noexcept;
};

}  // namespace copykv
