// SPDX-License-Identifier: Apache-2.0
// One attachment: the socket and the memory that came over it. Knows nothing of operations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <copykv/client.hpp>

#include "base/fd.hpp"
#include "shm/mapping.hpp"
#include "shm/rank_page.hpp"
#include "shm/segment.hpp"

namespace copykv {

class Connection {
 public:
  /// Connects, says hello and maps what the daemon sends. On failure `status` tells a refusal
  /// (unsupported: other ABI or layout; bad_request) from absence (disconnected).
  [[nodiscard]] static Outcome<Connection> open(const Options& options, Status& status);

  /// An attachment to memory of this process, without a socket: daemon and client as threads over
  /// one mapping. `wake_fds` stay the caller's. Everything must outlive the connection. `socket`:
  /// its other end's closing tells that the daemon is gone; none: it never goes.
  [[nodiscard]] static Connection in_process(std::byte* segment, const SegmentGeometry& geometry,
                                             const RankHeader& rank, std::span<const int> wake_fds,
                                             bool fence_free, Fd socket = {});

  /// Whether the daemon still holds its end: one system call.
  [[nodiscard]] bool alive() const noexcept;

  /// Asks for memory behind the first `bytes` of the bulk area; returns how much has it now. Takes
  /// a round trip to the daemon's control thread.
  [[nodiscard]] uint64_t grow_bulk(uint64_t bytes) noexcept;

  [[nodiscard]] const SegmentGeometry& geometry() const noexcept { return geometry_; }
  [[nodiscard]] const RankHeader& rank() const noexcept { return *rank_; }
  [[nodiscard]] const DaemonBlock& daemon(uint32_t index) const noexcept {
    return daemon_block(*rank_, index);
  }
  [[nodiscard]] bool fence_free() const noexcept { return fence_free_; }
  [[nodiscard]] ClientControl& control() const noexcept {
    return *reinterpret_cast<ClientControl*>(segment_ + geometry_.control_offset());
  }
  [[nodiscard]] Slot* lane_slots(uint32_t lane) const noexcept {
    return reinterpret_cast<Slot*>(segment_ + geometry_.lane_offset(lane));
  }
  [[nodiscard]] std::byte* slot_payload(uint32_t lane, uint32_t slot) const noexcept {
    return segment_ + geometry_.slot_payload_offset(lane, slot);
  }
  [[nodiscard]] std::byte* bulk() const noexcept { return segment_ + geometry_.bulk_offset(); }
  [[nodiscard]] uint64_t bulk_bytes_granted() const noexcept { return bulk_bytes_granted_; }
  [[nodiscard]] const std::string& socket_path() const noexcept { return socket_path_; }

  /// Leaves this attachment without its segment, for those who still point into it.
  [[nodiscard]] boost::interprocess::mapped_region take_segment() noexcept {
    return std::move(segment_mapping_);
  }

  /// Ends the sleep of a daemon that announced it; a system call.
  void wake(uint32_t daemon) const noexcept;

 private:
  [[nodiscard]] std::string take_welcome(const struct Welcome& welcome, std::vector<Fd> fds);

  Fd socket_;
  std::string socket_path_;
  boost::interprocess::mapped_region segment_mapping_;
  boost::interprocess::mapped_region rank_mapping_;
  std::vector<Fd> owned_wake_fds_;
  std::vector<int> wake_fds_;
  std::byte* segment_ = nullptr;
  const RankHeader* rank_ = nullptr;
  SegmentGeometry geometry_{};
  bool fence_free_ = false;
  uint64_t bulk_bytes_granted_ = 0;
};

}  // namespace copykv
