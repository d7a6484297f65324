// SPDX-License-Identifier: Apache-2.0
// Messages in. A batch is walked once when it arrives: every message is checked, answers are taken,
// calls are counted. Batches with calls are walked again when the calls are served. It is released
// when both are over. The memory may change under us at any time: each header is copied, and the
// copy is checked, both times.
#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "copyrpc/node.hpp"

namespace copyrpc {

void Node::on_batch(Peer& peer) noexcept {
  BatchHeader header;
  peer.ring.copy_out(peer.received_end, &header, sizeof(header));
  const bool sane =
      header.version == kWireVersion && header.session == peer.session && header.reserved == 0 &&
      header.number == peer.batches_received && header.message_count > 0 &&
      header.batch_bytes % kGrainBytes == 0 &&
      header.batch_bytes >= sizeof(BatchHeader) + header.message_count * sizeof(MessageHeader) &&
      header.batch_bytes <= peer.ring.bytes - peer.bytes_in &&
      peer.batches_received - peer.released < batches_max_ &&
      arrivals_.size() < arrivals_.entries.size();
  if (!sane) return violate(peer, "a batch header that cannot be");
  peer.heard = true;
  take_credit(peer, header.released);
  if (!peer.usable()) return;
  peer.in_batch(peer.batches_received++) = {.start = peer.received_end,
                                            .bytes = header.batch_bytes,
                                            .message_count = header.message_count};
  peer.received_end += header.batch_bytes;
  peer.bytes_in += header.batch_bytes;
  ++counters_.batches_received;
  arrivals_.push({peer.id, peer.session});
}

uint32_t Node::take_answers(std::span<Answer> answers) noexcept {
  uint32_t taken = 0;
  if (failing_count_ > 0) taken = take_lost(answers);
  while (taken < answers.size() && !timed_out_.empty()) {
    answers[taken++] = timed_out_.front();
    timed_out_.pop();
  }
  while (taken < answers.size() && !arrivals_.empty()) {
    const Arrival arrival = arrivals_.front();
    Peer& peer = peers_[arrival.peer];
    if (peer.session == arrival.session && peer.usable()) {
      const uint32_t before = taken;
      walk(peer, answers, taken);
      if (peer.walk_left > 0) {
        if (taken == before) break;  // waits for the scratch of an earlier answer
        continue;
      }
    }
    arrivals_.pop();
  }
  return taken;
}

/// Goes on with the peer's oldest batch that is not walked yet, as far as there is room.
void Node::walk(Peer& peer, std::span<Answer> answers, uint32_t& taken) noexcept {
  InBatch& batch = peer.in_batch(peer.batches_walked);
  const uint64_t end = batch.start + batch.bytes;
  if (peer.walk_left == 0) {
    peer.walk_left = batch.message_count;
    peer.walk_position = batch.start + sizeof(BatchHeader);
  }
  while (peer.walk_left > 0) {
    if (peer.walk_position + sizeof(MessageHeader) > end) {
      return violate(peer, "more messages than its batch has room for");
    }
    const auto header = peer.ring.get<MessageHeader>(peer.walk_position);
    if (!fits(header, end - peer.walk_position) || header.reserved != 0) {
      return violate(peer, "a message that runs over its batch");
    }
    if (header.kind == MessageKind::call) {
      if (!has_sane_room(header)) {
        return violate(peer, "a call with room for an answer larger than any");
      }
      ++batch.calls_left;
    } else if (header.kind == MessageKind::answer && header.answer_room == 0) {
      if (taken == answers.size()) return;
      if (!take_answer(peer, header, peer.walk_position + sizeof(header), answers, taken)) return;
    } else {
      return violate(peer, "a message of an unknown kind");
    }
    peer.walk_position += message_bytes(header.payload_bytes);
    --peer.walk_left;
  }
  if (peer.walk_position != end) return violate(peer, "a batch longer than its messages");
  ++peer.batches_walked;
  if (batch.calls_left > 0) queue_for_serving(peer);
  activate(peer);
}

/// False: not now, or the peer has failed.
bool Node::take_answer(Peer& peer, const MessageHeader& header, uint64_t position,
                       std::span<Answer> answers, uint32_t& taken) noexcept {
  CallRecord* record = calls_.find(header.id);
  if (record == nullptr || record->peer != peer.id) {
    ++counters_.late_answers;
    return true;
  }
  if (header.payload_bytes > round_up_16(record->answer_bytes_max)) {
    violate(peer, "an answer larger than the room that it was given");
    return false;
  }
  if (!is_before(record->batch, peer.batches_posted)) {
    violate(peer, "an answer to a call that was never sent");
    return false;
  }
  const bool wraps = peer.ring.wraps(position, header.payload_bytes);
  if (wraps && answer_scratch_taken_) return false;
  peer.in_batch(peer.batches_walked).answer_cost += record->answer_cost;
  if (!record->abandoned) {
    const std::byte* payload = view(peer, position, header.payload_bytes, answer_scratch_.data());
    answer_scratch_taken_ = answer_scratch_taken_ || wraps;
    answers[taken++] = {.tag = record->tag,
                        .end = CallEnd::answered,
                        .peer = peer.id,
                        .payload = payload,
                        .payload_bytes = header.payload_bytes,
                        .rtt_ns = record->timed ? clock_.now_ns() - record->started_ns : 0};
    ++counters_.answers;
  }
  calls_.remove(peer.calls, *record);
  return true;
}

/// Calls of peers that have failed, some at a time.
uint32_t Node::take_lost(std::span<Answer> answers) noexcept {
  uint32_t taken = 0;
  for (uint32_t at = 0; at < failing_count_; ++at) {
    Peer& peer = *failing_[at];
    while (peer.calls.oldest != kNoCall && taken < answers.size()) {
      CallRecord& record = calls_.at(peer.calls.oldest);
      if (!record.abandoned) {
        const bool sent = is_before(record.batch, peer.batches_posted);
        answers[taken++] = {
            .tag = record.tag, .end = sent ? CallEnd::lost : CallEnd::unsent, .peer = peer.id};
        ++counters_.calls_lost;
      }
      calls_.remove(peer.calls, record);
    }
  }
  return taken;
}

void Node::queue_for_serving(Peer& peer) noexcept {
  if (peer.serving) return;
  peer.serving = true;
  serving_.push(&peer);
}

uint32_t Node::take_calls(std::span<InboundCall> calls) noexcept {
  uint32_t taken = 0;
  while (taken < calls.size() && !serving_.empty()) {
    Peer& peer = *serving_.front();
    serving_.pop();
    peer.serving = false;
    if (!peer.usable()) continue;
    const uint32_t before = taken;
    taken += serve(peer, calls.subspan(taken));
    if (next_batch_to_serve(peer)) {
      queue_for_serving(peer);
      if (taken == before) break;  // waits for the scratch of an earlier call
    }
  }
  counters_.calls_served += taken;
  return taken;
}

/// Moves on to the next batch with calls. False: there is none.
bool Node::next_batch_to_serve(Peer& peer) noexcept {
  if (!peer.usable()) return false;
  if (peer.serve.messages_left > 0) return true;
  // Batches without calls may have been released since.
  if (is_before(peer.serve.batch, peer.released)) peer.serve.batch = peer.released;
  for (; peer.serve.batch != peer.batches_walked; ++peer.serve.batch) {
    const InBatch& batch = peer.in_batch(peer.serve.batch);
    if (batch.calls_left == 0) continue;
    peer.serve.messages_left = batch.message_count;
    peer.serve.position = batch.start + sizeof(BatchHeader);
    return true;
  }
  return false;
}

/// Calls of one batch, so that peers take turns.
uint32_t Node::serve(Peer& peer, std::span<InboundCall> calls) noexcept {
  if (!next_batch_to_serve(peer)) return 0;
  InBatch& batch = peer.in_batch(peer.serve.batch);
  const uint64_t end = batch.start + batch.bytes;
  uint32_t taken = 0;
  while (batch.calls_left > 0 && taken < calls.size()) {
    const auto header = peer.ring.get<MessageHeader>(peer.serve.position);
    // It was checked when it came; a peer can still have changed it since.
    if (peer.serve.messages_left == 0 || !fits(header, end - peer.serve.position) ||
        !has_sane_room(header)) {
      violate(peer, "a message that has changed after it was sent");
      return taken;
    }
    if (header.kind == MessageKind::call) {
      const uint64_t payload = peer.serve.position + sizeof(header);
      const bool wraps = peer.ring.wraps(payload, header.payload_bytes);
      if (wraps && call_scratch_taken_) return taken;
      call_scratch_taken_ = call_scratch_taken_ || wraps;
      calls[taken++] = {.peer = peer.id,
                        .answer_bytes_max = header.answer_room * kGrainBytes,
                        .session = peer.session,
                        .id = header.id,
                        .payload = view(peer, payload, header.payload_bytes, call_scratch_.data()),
                        .payload_bytes = header.payload_bytes,
                        .cursor = peer.serve};
      --batch.calls_left;
    }
    peer.serve.position += message_bytes(header.payload_bytes);
    --peer.serve.messages_left;
  }
  if (batch.calls_left == 0) {  // what is left of it are answers
    peer.serve.messages_left = 0;
    ++peer.serve.batch;
  }
  activate(peer);
  return taken;
}

void Node::put_back(std::span<const InboundCall> calls) noexcept {
  for (size_t index = calls.size(); index > 0; --index) {
    const InboundCall& call = calls[index - 1];
    if (!is_live(call)) continue;
    Peer& peer = peers_[call.peer];
    peer.serve = call.cursor;
    ++peer.in_batch(call.cursor.batch).calls_left;
    queue_for_serving(peer);
    --counters_.calls_served;
  }
}

/// Counts as released what is over with, oldest first.
void Node::release(Peer& peer) noexcept {
  while (peer.released != peer.batches_walked) {
    const InBatch& batch = peer.in_batch(peer.released);
    if (batch.calls_left > 0) break;
    peer.bytes_in -= batch.bytes;
    peer.bytes_untold += batch.bytes;
    peer.answer_reserved -= batch.answer_cost;
    ++peer.released;
  }
}

}  // namespace copyrpc
