// SPDX-License-Identifier: Apache-2.0
// What stands behind Client. Files: submit.cpp (requests out), complete.cpp (answers in),
// wait.cpp (spinning, yielding, sleeping, noticing a dead daemon), client.cpp (the public calls).
//
// VIEWS  A value given out points into the slot (or bulk room) it arrived in. Slots are reused only
//   by a later call, rooms and stashed copies are returned at the next call (expire_views): hence
//   "valid until the next call". A get that is asked again inside a poll takes a slot too, so poll
//   does that only before it has given out views.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include <copykv/client.hpp>

#include "base/clock.hpp"
#include "base/fault_points.hpp"
#include "client/bulk.hpp"
#include "client/connection.hpp"
#include "client/lane_end.hpp"

namespace copykv {

/// One operation as the caller meant it.
struct Request {
  Op op = Op::get;
  Condition condition = Condition::always;
  std::string_view key{};
  std::string_view value{};  ///< put; empty when the value already stands in `room`
  BulkRoom room{};           ///< put: where the value stands. get, keys: where the answer may go
  uint64_t value_bytes = 0;  ///< put: length of the value
  uint32_t user_flags = 0;
  uint32_t ttl_ms = 0;
  uint64_t argument = 0;
  uint32_t daemon = 0;  ///< of an operation without a key (ping, keys): owner index
};

[[nodiscard]] Request put_request(std::string_view key, std::string_view value,
                                  const PutOptions& options) noexcept;

/// Where a request went.
struct SlotRef {
  LaneEnd* lane = nullptr;
  uint32_t slot = 0;
};

struct ClientImpl {
  /// `clock` must outlive it.
  ClientImpl(Options options, Connection connection, const Clock& clock = kSystemClock);

  /// Makes a Client of an attachment that was not made by Client::attach (tests, benchmarks).
  [[nodiscard]] static Client wrap(std::unique_ptr<ClientImpl> impl);

  // submit.cpp
  Status start(const Request& request, uint64_t tag, Sink sink, SlotRef& at) noexcept;
  /// start for a get or put; straight code when key and value fit the line.
  Status start_put(std::string_view key, std::string_view value, const PutOptions& options,
                   uint64_t tag, Sink sink, SlotRef& at) noexcept;
  Status start_get(std::string_view key, uint64_t tag, Sink sink, SlotRef& at) noexcept;
  [[nodiscard]] std::optional<SampledRequest> sample_next(std::string_view key) noexcept;
  /// As start, but waits for slots and bulk room, stashing answers that poll has not taken.
  Status start_waiting(const Request& request, SlotRef& at) noexcept;
  [[nodiscard]] Buffer reserve(size_t bytes) noexcept;
  /// A put whose value stands in `value` already; takes its room when it starts.
  Status start_buffer(Request request, Buffer& value, uint64_t tag, Sink sink,
                      SlotRef& at) noexcept;
  [[nodiscard]] BulkRoom reserve_room(uint64_t bytes) noexcept;
  /// Whether there is a daemon, attaching again first where the options say so.
  [[nodiscard]] bool attached() noexcept;

  // complete.cpp
  Result call(const Request& request) noexcept;
  Result get(std::string_view key) noexcept;
  Result put(std::string_view key, std::string_view value, const PutOptions& options) noexcept;
  size_t poll(std::span<Completion> completions) noexcept;
  using BatchSink = void (*)(void* context, size_t index, const Result& result);
  /// `request_of(context, index)` makes request `index`; `sink` takes its result.
  void run_batch(size_t request_count, Request (*request_of)(void* context, size_t index),
                 BatchSink sink, void* context) noexcept;
  /// Takes the answer of a slot out of shared memory and ends the slot's work.
  Result take(SlotRef at) noexcept;

  // wait.cpp
  size_t wait(std::span<Completion> completions, uint64_t timeout_ns) noexcept;
  /// Waits until `slot` is answered or the daemon is gone.
  void wait_answer(SlotRef at) noexcept;
  /// Waits until any slot in flight is answered; false after timeout_ns.
  bool wait_any(uint64_t timeout_ns) noexcept;
  [[nodiscard]] bool finished(SlotRef at) const noexcept {
    return broken_ || at.lane->answered(at.slot);
  }

  /// Ends everything in flight and attaches again. Empty on success.
  [[nodiscard]] std::string reattach();
  /// A Buffer of `incarnation` is gone.
  void forget_buffer(uint32_t incarnation) noexcept;
  /// Waits for the oldest operation of `lane` (nullptr: of any lane) and moves its answer into the
  /// stash. False: nothing is in flight.
  bool stash_oldest(LaneEnd* lane) noexcept;
  [[nodiscard]] size_t in_flight() const noexcept { return user_asked_ + stash_.size(); }

  Options options_;
  Connection connection_;
  std::vector<LaneEnd> lanes_;
  BulkAllocator bulk_;
  bool broken_ = false;       ///< the daemon is gone
  uint32_t incarnation_ = 0;  ///< grows with each attachment: a Buffer belongs to one
  size_t user_asked_ = 0;     ///< slots whose answer poll will take
  bool views_out_ = false;    ///< expiring_ or delivered_ is not empty
  std::vector<BulkRoom> expiring_;

  /// The segment of an earlier attachment, kept while Buffers point into it.
  struct OldSegment {
    uint32_t incarnation = 0;
    uint32_t buffers = 0;
    boost::interprocess::mapped_region memory;
  };
  uint32_t buffers_ = 0;  ///< Buffers that are out, of this attachment
  std::vector<OldSegment> old_segments_;

  /// A finished operation moved out of its slot, its value copied.
  struct Stashed {
    Completion completion;
    std::string value;
  };
  std::deque<Stashed> stash_;      ///< not yet taken by poll
  std::deque<Stashed> delivered_;  ///< taken; backs views until the next submit

 private:
  void set_up_lanes();
  [[nodiscard]] LaneEnd& lane_of(const Request& request) noexcept;
  RequestLine& claim(LaneEnd& lane, Op op, uint64_t tag, Sink sink, SlotRef& at) noexcept;
  [[nodiscard]] LaneEnd& lane_of_key(std::string_view key) noexcept;
  void publish_head(LaneEnd& lane, RequestLine& line, RequestHead head) noexcept;
  void expire_views() noexcept;
  Status start_large(LaneEnd& lane, const Request& request, uint64_t tag, Sink sink,
                     SlotRef& at) noexcept;
  void send(LaneEnd& lane, const Request& request, Placement placement, uint64_t tag, Sink sink,
            SlotRef& at) noexcept;
  [[nodiscard]] bool ask_again(SlotRef at, Sink sink, SlotRef& fresh, Result& result) noexcept;
  void stash(SlotRef at) noexcept;
  [[nodiscard]] bool take_small_get(LaneEnd& lane, Completion& completion) noexcept;
  [[nodiscard]] bool answered_too_small(SlotRef at) const noexcept;
  [[nodiscard]] bool idle() const noexcept;
  [[nodiscard]] bool any_answered() const noexcept;
  template <class Ready>
  bool wait_until(Ready ready, uint64_t timeout_ns) noexcept;
  void check_daemon() noexcept;
  /// At most one system call in 100 ms.
  void check_daemon_now_and_then() noexcept;

  const Clock& clock_;
  uint32_t empty_polls_ = 0;
  uint64_t checked_ns_ = 0;
};

}  // namespace copykv
