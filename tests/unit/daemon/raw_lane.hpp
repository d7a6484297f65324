// SPDX-License-Identifier: Apache-2.0
// The client's end of a lane, word by word, without the library: requests as a test wants them, and
// whatever the daemon answered.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include <catch2/catch.hpp>

#include "sim/in_process.hpp"

namespace copykv::test {

/// What a request line says beyond operation and key.
struct Fields {
  Placement placement = Placement::line;
  Condition condition = Condition::always;
  uint32_t user_flags = 0;
  uint32_t ttl_ms = 0;
  uint64_t argument = 0;
  uint64_t bulk_offset = 0;  ///< bulk: where the value stands or may go
  uint64_t bulk_bytes = 0;
};

class RawLane {
 public:
  explicit RawLane(sim::Seat& seat) : seat_(seat) {}

  /// Publishes a request in the next slot; returns the slot.
  uint32_t send(Op op, std::string_view key = {}, std::string_view value = {},
                const Fields& fields = {}) {
    const uint32_t index = next_;
    RequestLine& line = seat_.slot(index).request;
    const uint32_t value_at = round_up_8(static_cast<uint32_t>(key.size()));
    auto* data = reinterpret_cast<std::byte*>(line.data);
    if (fields.placement == Placement::line) {
      copy(data, key);
      copy(data + value_at, value);
    } else {
      copy(payload(index), key);
      if (fields.placement == Placement::page) {
        copy(payload(index) + value_at, value);
      } else {
        copy(bulk() + fields.bulk_offset, value);
        line.data[0] = fields.bulk_offset;
        line.data[1] = fields.bulk_bytes;
      }
    }
    line.value_bytes = static_cast<uint32_t>(value.size());
    line.user_flags = fields.user_flags;
    line.argument = fields.argument;
    line.ttl_ms = fields.ttl_ms;
    const auto mode =
        static_cast<uint32_t>(fields.placement) | static_cast<uint32_t>(fields.condition) << 2;
    publish_head({lap_, static_cast<uint8_t>(op), static_cast<uint8_t>(mode),
                  static_cast<uint16_t>(key.size())});
    return index;
  }
  /// As send, with a head of any content; the slot counts as used.
  void publish_head(const RequestHead& head) {
    expected_[next_] = head.seq;
    publish(seat_.slot(next_).request.head, head.pack());
    if (++next_ == seat_.geometry().queue_depth) {
      next_ = 0;
      ++lap_;
    }
  }

  [[nodiscard]] bool answered(uint32_t index) const {
    return head_seq(observe(response(index).head)) == expected_[index];
  }
  [[nodiscard]] Status status(uint32_t index) const {
    return response_status(response(index).head);
  }
  [[nodiscard]] const ResponseLine& response(uint32_t index) const {
    return seat_.slot(index).response;
  }
  /// The value of an answered get, from wherever it was put. `bulk_offset` as in the request.
  [[nodiscard]] std::string value(uint32_t index, uint64_t bulk_offset = 0) const {
    const ResponseLine& line = response(index);
    const void* from = line.data;
    if (response_placement(line.head) == Placement::page) from = payload(index);
    if (response_placement(line.head) == Placement::bulk) from = bulk() + bulk_offset;
    return {static_cast<const char*>(from), line.value_bytes};
  }

  [[nodiscard]] std::byte* payload(uint32_t index) const {
    return seat_.base() + seat_.geometry().slot_payload_offset(0, index);
  }
  [[nodiscard]] std::byte* bulk() const { return seat_.base() + seat_.geometry().bulk_offset(); }
  [[nodiscard]] uint32_t next() const { return next_; }
  [[nodiscard]] uint32_t lap() const { return lap_; }

 private:
  static void copy(std::byte* to, std::string_view from) {
    if (!from.empty()) std::memcpy(to, from.data(), from.size());
  }

  sim::Seat& seat_;
  uint32_t next_ = 0;
  uint32_t lap_ = 1;
  uint32_t expected_[kQueueDepthMax] = {};
};

/// Turns until the slot is answered; the engine's lists are checked after each.
inline bool turn_until_answered(sim::InProcessDaemon& daemon, const RawLane& lane, uint32_t slot,
                                uint32_t turns_max = 10'000) {
  for (uint32_t turn = 0; turn < turns_max && !lane.answered(slot); ++turn) {
    (void)daemon.turn();
    REQUIRE(daemon.engine().is_valid());
  }
  return lane.answered(slot);
}

/// One request, served.
inline Status run(sim::InProcessDaemon& daemon, RawLane& lane, Op op, std::string_view key = {},
                  std::string_view value = {}, const Fields& fields = {}) {
  const uint32_t slot = lane.send(op, key, value, fields);
  REQUIRE(turn_until_answered(daemon, lane, slot));
  return lane.status(slot);
}

}  // namespace copykv::test
