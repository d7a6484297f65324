// SPDX-License-Identifier: Apache-2.0
// The attach handshake by hand, and a segment to write anything into: what a hostile or broken
// client can do, without the client library in between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "shm/handshake.hpp"
#include "shm/mapping.hpp"
#include "shm/rank_page.hpp"
#include "shm/segment.hpp"

namespace copykv::storm {

/// A socket that speaks to a control thread, one message at a time.
class RawSocket {
 public:
  /// Throws std::runtime_error when nobody listens.
  explicit RawSocket(const std::string& path);

  [[nodiscard]] int fd() const { return socket_.get(); }
  void send(std::span<const std::byte> message) const;
  template <class Message>
  void send(const Message& message) const {
    send(std::as_bytes(std::span(&message, 1)));
  }
  /// Waits for a Welcome, at most 10 s. `bytes` 0: end-of-file; -1: nothing or an error.
  Received receive_welcome(Welcome& welcome) const;
  /// True when the daemon closes its end within 10 s.
  [[nodiscard]] bool closed_by_daemon() const;

 private:
  Fd socket_;
};

/// A Hello that any daemon of this build accepts.
[[nodiscard]] Hello valid_hello();

/// An attached segment without any manners.
class RawClient {
 public:
  explicit RawClient(const std::string& path, const Hello& hello = valid_hello());

  [[nodiscard]] std::byte* base() const { return static_cast<std::byte*>(segment_.get_address()); }
  [[nodiscard]] const SegmentGeometry& geometry() const { return geometry_; }
  [[nodiscard]] const RankHeader& rank() const {
    return *static_cast<const RankHeader*>(rank_.get_address());
  }
  [[nodiscard]] Slot& slot(uint32_t index, uint32_t lane = 0) const {
    return reinterpret_cast<Slot*>(base() + geometry_.lane_offset(lane))[index];
  }
  /// All 8-byte words after the header page, up to what has memory behind it.
  [[nodiscard]] std::span<uint64_t> words() const;
  [[nodiscard]] int segment_fd() const { return descriptors_[0].get(); }
  [[nodiscard]] const RawSocket& socket() const { return socket_; }
  /// Asks for bulk memory; returns what is granted.
  uint64_t grow_bulk(uint64_t bytes);
  void wake(uint32_t daemon = 0) const;
  /// Waits for the answer of `seq` in a slot, at most 10 s; wakes the daemon. False: none came.
  [[nodiscard]] bool wait_answer(uint32_t slot, uint32_t seq) const;

 private:
  RawSocket socket_;
  std::vector<Fd> descriptors_;
  boost::interprocess::mapped_region segment_;
  boost::interprocess::mapped_region rank_;
  SegmentGeometry geometry_{};
  uint64_t bulk_bytes_granted_ = 0;
};

}  // namespace copykv::storm
