// SPDX-License-Identifier: Apache-2.0
// What every message passes on its way out and in, inline in who sends and takes it: a payload is
// written straight into the mirror, and read straight from the ring. Included by node.hpp.
//
// A batch with answers is walked when it arrives: every message is checked, the answers are taken.
// A batch with calls is walked when they are served, as far as there is room for them. It is
// released when both are over. The memory may change under us at any time: each header is copied,
// and the copy is checked, both times.
#pragma once

#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "base/planted.hpp"
#include "copyrpc/node.hpp"

namespace copyrpc {

// ---- out

template <class Write>
[[gnu::always_inline]] inline Node::Sent Node::call(Peer& peer, uint32_t payload_bytes,
                                                    uint32_t answer_bytes_max,
                                                    Write&& write) noexcept {
  if (payload_bytes > peer.call_bytes_max || answer_bytes_max > peer.answer_bytes_max) {
    return Sent::too_large;
  }
  // The room for the batch's header is taken when it is opened.
  const uint32_t bytes = message_bytes(payload_bytes);
  const uint32_t answer_cost = message_cost(answer_bytes_max);
  if (bytes + sizeof(BatchHeader) > peer.call_room || answer_cost > peer.answer_room ||
      calls_.full()) [[unlikely]] {
    ++counters_.ring_full;
    read_credit_cell(peer);
    return Sent::full;
  }
  uint64_t id = 0;
  CallRecord& record = calls_.add(id);
  const auto answer_room = static_cast<uint16_t>((answer_cost - message_cost(0)) / kGrainBytes);
  stage(peer, {payload_bytes, MessageKind::call, 0, answer_room, id},
        [&](std::byte* payload) { write(payload, record.tag); });
  peer.call_room -= bytes;
  if (!COPYKV_PLANTED(unreserved_answer)) peer.answer_room -= answer_cost;
  peer.open_call_bytes += bytes;
  ++peer.open_calls;
  record.peer = peer.id;
  record.batch = peer.open_batch;
  record.answer_cost = answer_cost;
  record.abandoned = false;
  record.started_ns = record.timed() ? clock_.now_ns() : now_ns_;
  if (options_.flush.kind == FlushPolicy::Kind::call) post_at_once(peer);
  return Sent::accepted;
}

template <class Write>
[[gnu::always_inline]] inline void Node::reply(const InboundCall& call, uint32_t payload_bytes,
                                               Write&& write) noexcept {
  Peer& peer = peers_[call.peer];
  if (!is_live(call)) [[unlikely]] {
    ++counters_.late_replies;
    return;
  }
  COPYKV_ASSERT(payload_bytes <= call.answer_bytes_max, "answer={} room={}", payload_bytes,
                call.answer_bytes_max);
  // The caller promised room: one that has promised more than it has is at fault.
  if (peer.staged - peer.freed + message_cost(payload_bytes) > peer.mirror.bytes) [[unlikely]] {
    return violate(peer, "it asked for more answers than it has room for");
  }
  stage(peer, {payload_bytes, MessageKind::answer, 0, 0, call.id}, std::forward<Write>(write));
  ++peer.open_answers;
  if (options_.flush.kind == FlushPolicy::Kind::call) post_at_once(peer);
}

/// Appends to the open batch; there is room.
template <class Write>
[[gnu::always_inline]] inline void Node::stage(Peer& peer, const MessageHeader& header,
                                               Write&& write) noexcept {
  if (peer.staged == peer.closed) open_batch(peer, header.kind);
  const RingView mirror = peer.mirror;
  const uint64_t at = peer.staged;
  const uint32_t bytes = message_bytes(header.payload_bytes);
  peer.staged = at + bytes;
  std::memcpy(mirror.at(at), &header, sizeof(header));
  if (!mirror.wraps(at, bytes)) [[likely]] {
    write(mirror.at(at) + sizeof(header));
  } else {
    write(stage_scratch_.data());
    mirror.copy_in(at + sizeof(header), stage_scratch_.data(), header.payload_bytes);
  }
}

// ---- in

template <class Take>
uint32_t Node::take_answers(uint32_t answers_max, Take&& take) noexcept {
  uint32_t room = answers_max;
  if (calls_to_check_ > 0) [[unlikely]] {
    uint32_t checks = kCallChecksPerTurn;
    for (Answer ended; room > 0 && take_ended(checks, ended); --room) (void)take(ended);
  }
  const uint32_t before = room;
  while (room > 0 && !arrivals_.empty()) {
    const Arrival arrival = arrivals_.front();
    Peer& peer = peers_[arrival.peer];
    if (peer.session == arrival.session && peer.usable()) {
      walk(peer, room, take);
      if (peer.usable() && peer.walk_left > 0) break;
    }
    arrivals_.pop();
  }
  counters_.answers += before - room;
  return answers_max - room;
}

/// Goes on with the peer's oldest batch that is not walked yet, until there is no room for its next
/// answer, or that waits for the scratch of an earlier one.
template <class Take>
void Node::walk(Peer& peer, uint32_t& room, Take&& take) noexcept {
  InBatch& batch = peer.in_batch(peer.batches_walked);
  if (batch.only_calls()) return end_walk(peer, batch);
  const RingView ring = peer.ring;
  const uint64_t end = batch.start + batch.bytes;
  uint64_t at = peer.walk_left > 0 ? peer.walk_position : batch.start + sizeof(BatchHeader);
  uint32_t left = peer.walk_left > 0 ? peer.walk_left : batch.message_count;
  for (; left > 0; --left) {
    const auto header = ring.get<MessageHeader>(at);
    if (!fits(header, end - at)) [[unlikely]] {
      return violate(peer, "a message that runs over its batch");
    }
    if (header.is_call()) {
      if (batch.calls_unseen-- == 0) return violate(peer, "a batch with more calls than it said");
    } else if (header.is_answer()) {
      const uint64_t payload = at + sizeof(header);
      if (room == 0) break;
      const std::byte* bytes = ring.at(payload);
      if (ring.wraps(payload, header.payload_bytes)) [[unlikely]] {
        if (answer_scratch_.taken) break;
        bytes = answer_scratch_.copy(ring, payload, header.payload_bytes);
      }
      if (!take_answer(peer, batch, header, bytes, room, take)) return;
    } else {
      return violate(peer, "a message of an unknown kind");
    }
    at += message_bytes(header.payload_bytes);
  }
  peer.walk_position = at;
  peer.walk_left = left;
  if (left > 0) return;
  if (at != end || batch.calls_unseen > 0) {
    return violate(peer, "a batch longer than its messages, or with fewer calls than it said");
  }
  end_walk(peer, batch);
}

/// False: the peer has failed.
template <class Take>
bool Node::take_answer(Peer& peer, InBatch& batch, const MessageHeader& header,
                       const std::byte* payload, uint32_t& room, Take&& take) noexcept {
  CallRecord* const record = calls_.find(header.id, peer.id);
  if (record == nullptr) [[unlikely]] {
    ++counters_.late_answers;
    return true;
  }
  if (message_cost(header.payload_bytes) > record->answer_cost) [[unlikely]] {
    violate(peer, "an answer larger than the room that it was given");
    return false;
  }
  if (!is_before(record->batch, peer.batches_posted)) [[unlikely]] {
    violate(peer, "an answer to a call that was never sent");
    return false;
  }
  batch.answer_cost += record->answer_cost;
  if (record->abandoned) [[unlikely]] {
    calls_.remove(*record);
    return true;
  }
  const Answer answer{.tag = record->tag,
                      .end = CallEnd::answered,
                      .peer = peer.id,
                      .payload = payload,
                      .payload_bytes = header.payload_bytes,
                      .rtt_ns = record->timed() ? clock_.now_ns() - record->started_ns : 0};
  calls_.remove(*record);
  --room;
  if (take(answer)) [[likely]]
    return true;
  violate(peer, "an answer that cannot be");
  return false;
}

template <class Take>
uint32_t Node::take_calls(uint32_t calls_max, Take&& take) noexcept {
  uint32_t taken = 0;
  while (taken < calls_max && !serving_.empty()) {
    Peer& peer = *serving_.front();
    serving_.pop();
    peer.serving = false;
    if (!next_batch_to_serve(peer)) continue;
    const uint32_t before = taken;
    taken += serve(peer, calls_max - taken, take);
    if (next_batch_to_serve(peer)) {
      queue_for_serving(peer);
      if (taken == before) break;  // waits for the scratch of an earlier call
    }
  }
  counters_.calls_served += taken;
  return taken;
}

/// Calls of one batch, so that peers take turns. Returns how many.
template <class Take>
uint32_t Node::serve(Peer& peer, uint32_t calls_max, Take&& take) noexcept {
  InBatch& batch = peer.in_batch(peer.serve.batch);
  const RingView ring = peer.ring;
  const uint64_t end = batch.start + batch.bytes;
  ServeCursor cursor = peer.serve;
  const uint32_t wanted = std::min<uint32_t>(calls_max, batch.calls_left);
  uint32_t taken = 0;
  while (taken < wanted) {
    const auto header = ring.get<MessageHeader>(cursor.position);
    // Of a batch with answers it was checked before; a peer can still have changed it since.
    if (cursor.messages_left == 0 || !fits(header, end - cursor.position) || !has_sane_room(header))
        [[unlikely]] {
      violate(peer, "a batch without the calls that it said, or one that cannot be");
      return taken;
    }
    if (header.is_call()) {
      const uint64_t payload = cursor.position + sizeof(header);
      const std::byte* bytes = ring.at(payload);
      if (ring.wraps(payload, header.payload_bytes)) [[unlikely]] {
        if (call_scratch_.taken) break;
        bytes = call_scratch_.copy(ring, payload, header.payload_bytes);
      }
      const InboundCall call{.peer = peer.id,
                             .answer_bytes_max = header.answer_room * kGrainBytes,
                             .session = peer.session,
                             .id = header.id,
                             .payload = bytes,
                             .payload_bytes = header.payload_bytes,
                             .cursor = cursor};
      if (!take(call)) [[unlikely]] {
        violate(peer, "a request that cannot be");
        return taken;
      }
      ++taken;
    }
    cursor.position += message_bytes(header.payload_bytes);
    --cursor.messages_left;
  }
  batch.calls_left = static_cast<uint16_t>(batch.calls_left - taken);
  if (cursor.messages_left == 0 && cursor.position != end) {
    violate(peer, "a batch longer than its messages");
    return taken;
  }
  if (batch.calls_left == 0) {  // what is left of it are answers
    cursor.messages_left = 0;
    ++cursor.batch;
  }
  peer.serve = cursor;
  activate(peer);
  return taken;
}

}  // namespace copyrpc
