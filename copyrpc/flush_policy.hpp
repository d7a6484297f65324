// SPDX-License-Identifier: Apache-2.0
// When staged messages leave. Selectable, because they are what one wants to compare.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace copyrpc {

struct FlushPolicy {
  enum class Kind : uint8_t {
    loop,     ///< once per turn
    call,     ///< at once, message by message
    hold,     ///< when the oldest staged message has waited hold_ns
    clocked,  ///< at once while fewer than `in_flight_max` batches are on their way to that peer
              ///< and fewer than twice as many to all peers (through one send queue: as many), or
              ///< none to that peer; else when one is through; where posting is a system call,
              ///< not while messages of that peer are at hand whose answers could go along, up to 8
              ///< turns. It needs no timer, adds no delay when idle, and the batch grows with the
              ///< load
  };
  Kind kind = Kind::clocked;
  uint64_t hold_ns = 0;
  uint32_t in_flight_max = 6;

  /// "loop", "call", "hold:US", "clocked", "clocked:K".
  [[nodiscard]] static copykv::Outcome<FlushPolicy> parse(std::string_view text);
  [[nodiscard]] std::string spell() const;
};

}  // namespace copyrpc
