// SPDX-License-Identifier: Apache-2.0
// What the engine wants of other ranks: hand a request over with its ticket and get the answer back
// later, in any order; take requests of others and answer them; move large values without copying
// them. A parameter of the engine, like its clock: production, simulation and tests give different
// ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <copykv/status.hpp>

#include "copyrpc/wire.hpp"
#include "daemon/lane.hpp"
#include "daemon/request.hpp"
#include "daemon/store.hpp"
#include "shm/rank_page.hpp"

namespace copykv {

struct RemoteAnswer {
  Ticket ticket{};
  Status status = Status::unreachable;
  bool in_room = false;  ///< the value stands in the room that the request named
  uint32_t user_flags = 0;
  uint64_t version = 0;
  int64_t number = 0;
  /// Readable to the next multiple of 8, valid until flush; nullptr: it is not here.
  const std::byte* value = nullptr;
  uint32_t value_bytes = 0;  ///< also of a value that is not here
};

/// A request of another rank: checked, its key in private memory. A plain one (Path, as of a
/// client's request) fills the first part only; widen() does the rest.
struct alignas(kCacheLineBytes) RemoteRequest {
  ItemKey key{};
  Probe probe{};
  Path path = Path::general;
  uint32_t index = 0;                   ///< in the last take_requests
  uint32_t value_bytes = 0;             ///< put
  const std::byte* value = nullptr;     ///< put: 8-byte aligned; nullptr: it must be moved
  uint32_t answer_value_bytes_max = 0;  ///< that the answer itself can carry
  uint64_t short_key = 0;
  uint64_t version = 0;  ///< reply_plain: the answer's, whose value stands in value and value_bytes

  Op op = Op::ping;
  Condition condition = Condition::always;
  uint32_t user_flags = 0;
  uint32_t ttl_ms = 0;
  uint64_t argument = 0;
  uint64_t room_bytes = 0;  ///< get: of the caller's memory that a value can be moved to

  /// Completes a plain request that turned out to need more than its path.
  void widen() noexcept {
    op = path == Path::plain_put ? Op::put : Op::get;
    path = Path::general;
    condition = Condition::always;
    user_flags = 0;
    ttl_ms = 0;
    argument = 0;
    room_bytes = 0;
  }
};

/// Large values on their way for other ranks, at one time.
inline constexpr uint32_t kMovesMax = 32;

struct MoveEnd {
  uint32_t move = 0;
  bool ok = false;
};

class Network {
 public:
  virtual ~Network() = default;

  enum class Sent : uint8_t {
    accepted,     ///< exactly one answer will follow for this ticket
    full,         ///< no room now: the engine offers it again in a later turn
    unreachable,  ///< nobody owns this index, or its rank is down
  };
  /// Sends a request to its owner (Pending::owner). It is valid during the call only; the memory
  /// that it names, until the answer.
  [[nodiscard]] virtual Sent call(const Pending& request) noexcept = 0;
  /// The same for the remote ones (is_remote) that stand first, in order, up to one that is not
  /// accepted; `sent` says why. Returns how many were accepted.
  [[nodiscard]] virtual uint32_t call_plain(std::span<const Pending> requests,
                                            Sent& sent) noexcept = 0;
  /// Takes answers; returns how many.
  [[nodiscard]] virtual uint32_t take_answers(std::span<RemoteAnswer> answers) noexcept = 0;

  /// Requests of other ranks. Each is replied to, moved, or put back before the next flush.
  [[nodiscard]] virtual uint32_t take_requests(std::span<RemoteRequest>) noexcept { return 0; }
  /// The requests from `index` on of the last take_requests come again in a later turn.
  virtual void put_back(uint32_t /*index*/) noexcept {}
  /// Answers of plain requests that went well: some of the last take_requests, in a row.
  virtual void reply_plain(std::span<const RemoteRequest> requests) noexcept = 0;
  /// Any answer. `value_bytes` of its value go along.
  virtual void reply(const RemoteRequest& request, const StoreAnswer& answer,
                     uint32_t value_bytes) noexcept = 0;

  /// Fetches a put's value into `memory`, or brings a get's value from there. The request is taken
  /// over: reply_moved follows after the end was told. False: not now.
  [[nodiscard]] virtual bool move(const RemoteRequest&, uint32_t /*move*/, std::byte* /*memory*/,
                                  uint32_t /*bytes*/) noexcept {
    return false;
  }
  [[nodiscard]] virtual uint32_t take_moved(std::span<MoveEnd>) noexcept { return 0; }
  virtual void reply_moved(uint32_t /*move*/, const StoreAnswer&) noexcept {}

  /// A daemon of another rank, or its next incarnation.
  virtual void set_peer(const copyrpc::Card&) noexcept {}

  /// Lets staged messages leave.
  virtual void flush() noexcept = 0;
  /// The time, every few turns.
  virtual void tick(uint64_t /*now_ns*/) noexcept {}
  /// Whether the daemon must keep polling: something is in flight.
  [[nodiscard]] virtual bool busy() const noexcept = 0;
  virtual void show(DaemonBlock&) const noexcept {}
};

}  // namespace copykv
