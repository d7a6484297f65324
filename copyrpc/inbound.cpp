// SPDX-License-Identifier: Apache-2.0
// Batches in: from the ring to the queues of what is to be walked, served and released.
#include <utility>

#include "base/assert.hpp"
#include "base/planted.hpp"
#include "copyrpc/node.hpp"

namespace copyrpc {

void Node::on_batch(Peer& peer) noexcept {
  BatchHeader header;
  peer.ring.copy_out(peer.received_end, &header, sizeof(header));
  const bool sane =
      header.version == kWireVersion && header.session == peer.session && header.reserved == 0 &&
      header.reserved2 == 0 && header.call_count <= header.message_count &&
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
                                            .message_count = header.message_count,
                                            .calls_left = header.call_count,
                                            .calls_unseen = header.call_count};
  peer.received_end += header.batch_bytes;
  peer.bytes_in += header.batch_bytes;
  ++counters_.batches_received;
  arrivals_.push({peer.id, peer.session});
}

uint32_t Node::take_answers(std::span<Answer> answers) noexcept {
  return take_answers(static_cast<uint32_t>(answers.size()),
                      [next = answers.data()](const Answer& answer) mutable {
                        *next++ = answer;
                        return true;
                      });
}

/// Looks at the next `checks` calls at most, for one that ends without an answer: its peer has
/// failed, or it has waited too long. The record of the latter stays until the answer comes or the
/// session ends: the answer's room is still reserved.
bool Node::take_ended(uint32_t& checks, Answer& answer) noexcept {
  for (; checks > 0 && calls_to_check_ > 0; --checks) {
    CallRecord& record = calls_.at(--calls_to_check_);
    if (record.peer == kNoPeer) continue;
    Peer& peer = peers_[record.peer];
    const bool failed = peer.state == Peer::State::failing;
    if (!failed && now_ns_ <= record.started_ns + options_.call_timeout_ns) continue;
    const bool told = std::exchange(record.abandoned, true);
    const bool sent = is_before(record.batch, peer.batches_posted);
    answer = {.tag = record.tag,
              .end = !failed ? CallEnd::timed_out
                     : sent  ? CallEnd::lost
                             : CallEnd::unsent,
              .peer = peer.id};
    if (failed) calls_.remove(record);
    if (told) continue;
    ++counters_.calls_lost;
    return true;
  }
  return false;
}

void Node::end_walk(Peer& peer, const InBatch& batch) noexcept {
  ++peer.batches_walked;
  if (batch.calls_left > 0) queue_for_serving(peer);
  activate(peer);
}

void Node::queue_for_serving(Peer& peer) noexcept {
  if (peer.serving) return;
  peer.serving = true;
  serving_.push(&peer);
}

uint32_t Node::take_calls(std::span<InboundCall> calls) noexcept {
  return take_calls(static_cast<uint32_t>(calls.size()),
                    [next = calls.data()](const InboundCall& call) mutable {
                      *next++ = call;
                      return true;
                    });
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
    if (batch.calls_left > 0 && !COPYKV_PLANTED(early_credit)) break;
    peer.bytes_in -= batch.bytes;
    peer.bytes_untold += batch.bytes;
    peer.answer_room += batch.answer_cost;
    ++peer.released;
  }
}

}  // namespace copyrpc
