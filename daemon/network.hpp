// SPDX-License-Identifier: Apache-2.0
// What the engine wants of other ranks: hand a request over with its ticket, and get answers back
// later, in any order. A parameter of the engine, like its clock: production, simulation and tests
// give different ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <copykv/status.hpp>

#include "daemon/lane.hpp"
#include "daemon/request.hpp"

namespace copykv {

struct RemoteAnswer {
  Status status = Status::unreachable;
  uint32_t user_flags = 0;
  uint64_t version = 0;
  int64_t number = 0;
  std::span<const std::byte> value{};  ///< valid during the call that delivers it
};

/// Takes answers; implemented by the engine.
class AnswerSink {
 public:
  virtual void on_answer(const Ticket& ticket, const RemoteAnswer& answer) noexcept = 0;

 protected:
  ~AnswerSink() = default;
};

class Network {
 public:
  virtual ~Network() = default;

  enum class Sent : uint8_t {
    accepted,     ///< exactly one answer will follow for this ticket
    full,         ///< no room now: the engine offers it again in a later turn
    unreachable,  ///< nobody owns this index, or its rank is down
  };
  /// `request` is valid during the call only.
  [[nodiscard]] virtual Sent call(uint32_t owner, const Pending& request) noexcept = 0;
  /// Delivers at most `answers_max` answers; returns how many.
  virtual uint32_t poll_answers(AnswerSink& sink, uint32_t answers_max) noexcept = 0;
  /// Lets staged requests leave.
  virtual void flush() noexcept = 0;
  /// Whether the daemon must keep polling: something is in flight.
  [[nodiscard]] virtual bool busy() const noexcept = 0;
};

}  // namespace copykv
