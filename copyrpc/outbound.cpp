// SPDX-License-Identifier: Apache-2.0
// Batches out: from what is staged in the mirror to the fabric.
#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "base/atomics.hpp"
#include "copyrpc/node.hpp"

namespace copyrpc {
namespace {

constexpr uint32_t kTurnsPutOffMax = 8;

}  // namespace

void Node::activate(Peer& peer) noexcept {
  if (peer.active) return;
  peer.active = true;
  active_[active_count_++] = &peer;
}

Node::Sent Node::call(PeerId to, std::span<const std::byte> payload, uint32_t answer_bytes_max,
                      const CallTag& tag) noexcept {
  Peer* const peer = callee(to);
  if (peer == nullptr) return Sent::unreachable;
  if (payload.size() > options_.message_bytes_max) return Sent::too_large;
  return call(*peer, static_cast<uint32_t>(payload.size()), answer_bytes_max,
              [&](std::byte* into, CallTag& its_tag) {
                std::copy(payload.begin(), payload.end(), into);
                its_tag = tag;
              });
}

void Node::reply(const InboundCall& call, std::span<const std::byte> payload) noexcept {
  COPYKV_ASSERT(payload.size() <= call.answer_bytes_max, "answer={} room={}", payload.size(),
                call.answer_bytes_max);
  reply(call, static_cast<uint32_t>(payload.size()),
        [&](std::byte* into) { std::copy(payload.begin(), payload.end(), into); });
}

/// For the first message of a batch: its header will stand before it.
void Node::open_batch(Peer& peer, MessageKind kind) noexcept {
  peer.staged += sizeof(BatchHeader);
  if (kind == MessageKind::call) {
    peer.call_room -= static_cast<uint32_t>(sizeof(BatchHeader));
    peer.open_call_bytes += static_cast<uint32_t>(sizeof(BatchHeader));
  }
  if (options_.flush.kind == FlushPolicy::Kind::hold) peer.opened_ns = clock_.now_ns();
  activate(peer);
}

void Node::post_at_once(Peer& peer) noexcept {
  if (peer.sealed.end > 0 || !may_post(peer) || !post_batch(peer)) return;
  fabric_.submit();
  submit_due_ = false;
}

/// A peer with nothing on its way always has one: neither the dead nor the busy hold up the others.
bool Node::has_window(const Peer& peer) const noexcept {
  if (peer.in_flight() == 0) return true;
  const uint32_t all_max =
      options_.flush.in_flight_max * (fabric_.limits().send_queues == 1 ? 1 : 2);
  return peer.in_flight() < options_.flush.in_flight_max && batches_out_ < all_max;
}

bool Node::may_post(const Peer& peer) const noexcept {
  if (peer.batches_posted - peer.batches_released >= peer.grant.batches_max) return false;
  switch (options_.flush.kind) {
    case FlushPolicy::Kind::loop:
    case FlushPolicy::Kind::call:
      return true;
    case FlushPolicy::Kind::hold:
      return clock_.now_ns() - peer.opened_ns >= options_.flush.hold_ns;
    case FlushPolicy::Kind::clocked:
      // Where a post is a system call, it costs more than serving what is at hand: worth a few
      // turns. Elsewhere it is not, and waiting would keep the peer idle.
      return has_window(peer) && (!fabric_.limits().poll_is_system_call || !peer.has_backlog() ||
                                  peer.turns_put_off >= kTurnsPutOffMax);
  }
  return true;
}

/// The sealed batch, or one of everything staged. State changes only after a post has succeeded.
bool Node::post_batch(Peer& peer) noexcept {
  COPYKV_ASSERT(peer.staged - peer.freed <= peer.mirror.bytes, "staged={} freed={}", peer.staged,
                peer.freed);
  if (peer.sealed.end == 0) {
    const auto bytes = static_cast<uint32_t>(peer.staged - peer.posted);
    const BatchHeader header{.batch_bytes = bytes,
                             .message_count = static_cast<uint16_t>(peer.open_messages()),
                             .version = kWireVersion,
                             .session = peer.seen_session,
                             .number = peer.batches_posted,
                             .released = peer.released,
                             .call_count = static_cast<uint16_t>(peer.open_calls),
                             .reserved = 0,
                             .reserved2 = 0};
    peer.mirror.copy_in(peer.posted, &header, sizeof(header));
    if (peer.mirror.wraps(peer.posted, bytes)) {
      const uint32_t first = peer.mirror.straight_bytes(peer.posted);
      if (!post_part(peer, peer.posted, first)) return false;
      close_open_batch(peer);
      return post_end(peer, peer.posted + first);
    }
    return post_end(peer, peer.posted);
  }
  const uint64_t wrap = peer.posted + peer.mirror.straight_bytes(peer.posted);
  return post_end(peer, wrap);
}

/// What is staged is a batch; what comes now opens the next.
void Node::close_open_batch(Peer& peer) noexcept {
  peer.sealed = {peer.staged, peer.open_call_bytes};
  counters_.messages_sent += peer.open_messages();
  counters_.calls += peer.open_calls;
  ++peer.open_batch;
  peer.closed = peer.staged;
  peer.open_calls = 0;
  peer.open_answers = 0;
  peer.open_call_bytes = 0;
  peer.turns_put_off = 0;
  peer.released_told = peer.released;
  peer.bytes_untold = 0;
}

bool Node::post_part(Peer& peer, uint64_t from, uint32_t bytes) noexcept {
  const uint32_t offset = peer.mirror.offset_of(from);
  if (fabric_.write(peer.id, {&sent_memory_, peer.mirror_offset + offset, bytes},
                    peer.grant.ring.at(offset),
                    context_of(Post::part, peer.batches_posted)) != Fabric::Posted::yes) {
    ++counters_.send_full;
    return false;
  }
  ++peer.posts_outstanding;
  submit_due_ = true;
  return true;
}

/// The bytes from `from` to the end of the batch, and the immediate.
bool Node::post_end(Peer& peer, uint64_t from) noexcept {
  const uint64_t end = peer.sealed.end > 0 ? peer.sealed.end : peer.staged;
  const uint32_t offset = peer.mirror.offset_of(from);
  const LocalPart part{&sent_memory_, peer.mirror_offset + offset,
                       static_cast<uint32_t>(end - from)};
  if (fabric_.write_immediate(peer.id, part, peer.grant.ring.at(offset),
                              Immediate{Told::batch, options_.node,
                                        static_cast<uint16_t>(peer.grant.tag), peer.batches_posted}
                                  .pack(),
                              context_of(Post::batch, peer.batches_posted)) !=
      Fabric::Posted::yes) {
    ++counters_.send_full;
    return false;
  }
  if (peer.sealed.end == 0) close_open_batch(peer);
  const auto bytes = static_cast<uint32_t>(end - peer.posted);
  ++peer.posts_outstanding;
  peer.out_batch(peer.batches_posted) = {bytes, peer.sealed.call_bytes};
  ++peer.batches_posted;
  ++batches_out_;
  peer.posted = end;
  peer.sealed = {};
  submit_due_ = true;
  ++counters_.batches_sent;
  counters_.bytes_sent += bytes;
  return true;
}

void Node::flush() noexcept {
  answer_scratch_.taken = call_scratch_.taken = false;
  for (uint32_t index = 0; index < active_count_;) {
    Peer& peer = *active_[index];
    bool more = false;
    if (peer.usable()) {
      release(peer);
      if (peer.sealed.end > 0) more = !post_batch(peer);
      if (peer.open_messages() > 0 && !more) {
        if (!may_post(peer)) {
          read_credit_cell(peer);
          ++peer.turns_put_off;
          more = true;
        } else {
          more = !post_batch(peer);
        }
      }
      if (credit_due(peer)) more = !write_credit(peer) || more;
    }
    if (more && peer.usable()) {
      ++index;
    } else {
      peer.active = false;
      active_[index] = active_[--active_count_];
    }
  }
  if (submit_due_) {
    fabric_.submit();
    submit_due_ = false;
  }
}

/// C3: whether the peer could be waiting for what it does not know to be released.
bool Node::credit_due(const Peer& peer) const noexcept {
  if (peer.released == peer.released_told) return false;
  const uint32_t largest = message_cost(options_.message_bytes_max);
  const uint32_t bytes = std::min(peer.share / 2, peer.share - std::min(peer.share, largest));
  return peer.bytes_untold >= std::max(bytes, 1U) ||
         peer.released - peer.released_told >= std::max(batches_max_ / 4, 1U);
}

Fabric::Posted Node::read(PeerId from, const LocalPart& into, const RemoteMemory& memory,
                          uint32_t index) noexcept {
  if (!peers_[from].usable()) return Fabric::Posted::down;
  return count_transfer(from, fabric_.read(from, into, memory, context_of(Post::transfer, index)));
}

Fabric::Posted Node::write(PeerId to, const LocalPart& part, const RemoteMemory& into,
                           uint32_t index) noexcept {
  if (!peers_[to].usable()) return Fabric::Posted::down;
  return count_transfer(to, fabric_.write(to, part, into, context_of(Post::transfer, index)));
}

Fabric::Posted Node::count_transfer(PeerId peer, Fabric::Posted posted) noexcept {
  if (posted == Fabric::Posted::yes) ++peers_[peer].posts_outstanding;
  submit_due_ = true;
  return posted;
}

}  // namespace copyrpc
