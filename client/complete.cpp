// SPDX-License-Identifier: Apache-2.0
// Answers in: from response lines to Results, for poll, for synchronous calls and for batches.
#include <cstring>

#include "client/impl.hpp"

namespace copykv {
namespace {

// A value may grow between two attempts of a get; after this many the caller hears of it.
constexpr uint32_t kAttemptsMax = 8;
// A poll that finds nothing must be cheap, and yet notice that nothing will ever come.
constexpr uint32_t kEmptyPollsPerCheck = 64;  // each reads the clock

/// What an unanswered operation ends as when the daemon is gone.
[[nodiscard]] Status lost(Op op) noexcept {
  return is_write(op) ? Status::indeterminate : Status::disconnected;
}

}  // namespace

bool ClientImpl::answered_too_small(SlotRef at) const noexcept {
  const Op op = at.lane->records[at.slot].op;
  return op == Op::get && at.lane->answered(at.slot) &&
         response_status(peek(at.lane->slots[at.slot].response.head)) == Status::buffer_too_small;
}

Result ClientImpl::take(SlotRef at) noexcept {
  LaneEnd& lane = *at.lane;
  OpRecord& record = lane.records[at.slot];
  Result result;
  if (!lane.answered(at.slot)) {  // only when broken_: an answer already given still counts
    result.status = lost(record.op);
  } else {
    const ResponseLine& line = lane.slots[at.slot].response;
    const uint64_t head = peek(line.head);
    result.status = response_status(head);
    result.flags = peek(line.user_flags);
    result.version = peek(line.version);
    result.value_bytes = peek(line.value_bytes);
    if (record.op == Op::add) result.number = static_cast<int64_t>(peek(line.data[0]));
    if (result.status == Status::ok && (record.op == Op::get || record.op == Op::keys)) {
      const char* value = reinterpret_cast<const char*>(line.data);
      const Placement placement = response_placement(head);
      if (placement == Placement::page) {
        value = reinterpret_cast<const char*>(lane.payload_of(at.slot));
      } else if (placement == Placement::bulk) {
        value = reinterpret_cast<const char*>(connection_.bulk() + record.room.offset);
      }
      result.value = {value, result.value_bytes};
    }
  }
  COPYKV_FAULT_POINT("complete.answer_seen");
  if (record.sink == Sink::user) --user_asked_;
  if (record.room.bytes > 0) {
    // A put's room is free now; a get's still backs the view.
    if (record.op == Op::put) {
      bulk_.release(record.room);
    } else {
      expiring_.push_back(record.room);
      views_out_ = true;
    }
    record.room = {};
  }
  lane.done(at.slot);
  return result;
}

/// A get whose value did not fit its slot: the same again, with room in the bulk area. The slot's
/// request is still there, since only this client writes it.
bool ClientImpl::ask_again(SlotRef at, Sink sink, SlotRef& fresh, Result& result) noexcept {
  const OpRecord record = at.lane->records[at.slot];
  if (record.attempts >= kAttemptsMax) return false;
  const RequestLine& line = at.lane->slots[at.slot].request;
  const RequestHead head = RequestHead::unpack(peek(line.head));
  const bool in_line = static_cast<Placement>(head.mode & 3) == Placement::line;
  char key[kKeyBytesMax];
  std::memcpy(key,
              in_line ? static_cast<const void*>(line.data)
                      : static_cast<const void*>(at.lane->payload_of(at.slot)),
              head.key_bytes);
  Request again{.op = record.op, .key = {key, head.key_bytes}};
  again.room = reserve_room(result.value_bytes);
  if (again.room.bytes == 0) {
    if (broken_) result.status = lost(Op::get);
    return false;
  }
  const Status status = start(again, record.tag, sink, fresh);
  if (status == Status::ok) {
    fresh.lane->records[fresh.slot].attempts = static_cast<uint8_t>(record.attempts + 1);
    return true;
  }
  bulk_.release(again.room);
  result.status = status;
  return false;
}

/// take for the oldest slot of the lane, if it is a get that ended ok with its value in the line.
inline bool ClientImpl::take_small_get(LaneEnd& lane, Completion& completion) noexcept {
  OpRecord& record = lane.records[lane.tail];
  const ResponseLine& line = lane.slots[lane.tail].response;
  const uint64_t head = observe(line.head);  // [B]
  if (head != response_head(record.seq, Status::ok, Placement::line) || record.op != Op::get) {
    return false;
  }
  COPYKV_FAULT_POINT("complete.answer_seen");
  const uint32_t value_bytes = peek(line.value_bytes);
  completion.tag = record.tag;
  Result& result = completion.result;
  result.status = Status::ok;
  result.flags = peek(line.user_flags);
  result.version = peek(line.version);
  result.value = {reinterpret_cast<const char*>(line.data), value_bytes};
  result.value_bytes = value_bytes;
  result.number = 0;
  if (record.room.bytes > 0) [[unlikely]] {
    bulk_.release(record.room);
    record.room = {};
  }
  --user_asked_;
  lane.done(lane.tail);
  return true;
}

size_t ClientImpl::poll(std::span<Completion> completions) noexcept {
  if (views_out_) [[unlikely]]
    expire_views();
  size_t taken = 0;
  while (taken < completions.size() && !stash_.empty()) [[unlikely]] {
      Stashed& moved = delivered_.emplace_back(std::move(stash_.front()));
      views_out_ = true;
      stash_.pop_front();
      if (!moved.value.empty()) moved.completion.result.value = moved.value;
      completions[taken++] = moved.completion;
    }
  for (LaneEnd& lane : lanes_) {
    while (taken < completions.size() && lane.used > 0) {
      if (take_small_get(lane, completions[taken])) [[likely]] {
        ++taken;
        continue;
      }
      const SlotRef at{&lane, lane.tail};
      if (!finished(at)) break;
      if (answered_too_small(at)) [[unlikely]] {
        if (taken > 0) return taken;  // asking again may reuse memory that views point to
        completions[0] = {lane.records[at.slot].tag, take(at)};
        SlotRef fresh;
        if (ask_again(at, Sink::user, fresh, completions[0].result)) continue;
      } else {
        completions[taken].tag = lane.records[at.slot].tag;
        completions[taken].result = take(at);
      }
      ++taken;
    }
  }
  if (taken == 0 && ++empty_polls_ % kEmptyPollsPerCheck == 0) [[unlikely]]
    check_daemon_now_and_then();
  return taken;
}

void ClientImpl::stash(SlotRef at) noexcept {
  Stashed& entry = stash_.emplace_back();
  entry.completion.tag = at.lane->records[at.slot].tag;
  const bool too_small = answered_too_small(at);
  Result& result = entry.completion.result = take(at);
  SlotRef fresh;
  if (too_small && ask_again(at, Sink::call, fresh, result)) {
    wait_answer(fresh);
    result = take(fresh);
  }
  entry.value.assign(result.value);
  if (!result.value.empty()) result.value = entry.value;
}

bool ClientImpl::stash_oldest(LaneEnd* lane) noexcept {
  for (LaneEnd& candidate : lanes_) {
    if ((lane != nullptr && &candidate != lane) || candidate.used == 0) continue;
    const SlotRef at{&candidate, candidate.tail};
    wait_answer(at);
    stash(at);
    return true;
  }
  return false;
}

Result ClientImpl::get(std::string_view key) noexcept {
  SlotRef at;
  if (start_get(key, 0, Sink::call, at) == Status::ok) [[likely]] {
    wait_answer(at);
    const Result result = take(at);
    if (result.status != Status::buffer_too_small) [[likely]]
      return result;
  }
  return call({.op = Op::get, .key = key});  // with more room, a free slot, or the error
}

Result ClientImpl::put(std::string_view key, std::string_view value,
                       const PutOptions& options) noexcept {
  SlotRef at;
  if (start_put(key, value, options, 0, Sink::call, at) != Status::ok) [[unlikely]] {
    return call(put_request(key, value, options));  // a free slot, or the error
  }
  wait_answer(at);
  return take(at);
}

Result ClientImpl::call(const Request& request) noexcept {
  Request attempt = request;
  for (uint32_t attempts = 0;; ++attempts) {
    SlotRef at;
    Result result;
    result.status = start_waiting(attempt, at);
    if (result.status != Status::ok) {
      if (attempts > 0) bulk_.release(attempt.room);
      return result;
    }
    wait_answer(at);
    result = take(at);
    const bool ask_larger = result.status == Status::buffer_too_small && attempts < kAttemptsMax &&
                            (request.op == Op::get || request.op == Op::keys);
    if (!ask_larger) return result;
    expire_views();
    attempt.room = reserve_room(result.value_bytes);
    if (attempt.room.bytes == 0) {
      if (broken_) result.status = lost(request.op);
      return result;
    }
  }
}

void ClientImpl::run_batch(size_t request_count, Request (*request_of)(void* context, size_t index),
                           BatchSink sink, void* context) noexcept {
  size_t started = 0;
  size_t ended = 0;
  std::vector<size_t> too_small;  // asked again one by one at the end
  while (ended + too_small.size() < request_count) {
    // What a dead daemon has in flight ends first: attaching again would take it from the batch.
    while (started < request_count && !(broken_ && !idle())) {
      SlotRef at;
      const Status status = start(request_of(context, started), started, Sink::call, at);
      if (status == Status::would_block) break;
      if (status != Status::ok) {
        sink(context, started, Result{.status = status});
        ++ended;
      }
      ++started;
    }
    size_t taken = 0;
    for (LaneEnd& lane : lanes_) {
      while (lane.used > 0 && finished({&lane, lane.tail})) {
        const SlotRef at{&lane, lane.tail};
        ++taken;
        if (lane.records[at.slot].sink == Sink::user) {
          stash(at);
          continue;
        }
        const size_t index = lane.records[at.slot].tag;
        const Result result = take(at);
        if (result.status == Status::buffer_too_small) {
          too_small.push_back(index);
          continue;
        }
        sink(context, index, result);
        ++ended;
      }
    }
    if (taken > 0 || ended + too_small.size() == request_count) continue;
    if (idle()) {  // what blocks is bulk room held by Buffers of the caller: no answer frees it
      sink(context, started++, Result{.status = Status::would_block});
      ++ended;
    } else {
      (void)wait_any(UINT64_MAX);
    }
  }
  for (const size_t index : too_small) {
    const Result result = call(request_of(context, index));
    sink(context, index, result);
  }
}

}  // namespace copykv
