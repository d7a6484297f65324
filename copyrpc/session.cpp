// SPDX-License-Identifier: Apache-2.0
// How two nodes come to talk, and how they stop.
//
//   each side   registers a ring for the other and writes a hello into its mailbox: own session,
//               and the newest session seen of the other
//   up          when the other's hello is here and says that it has seen ours
//   repeated    as long as the other has not confirmed; answered whenever it has not seen ours
//   a session number that is newer than the one in use: the other has started over, so do we
//   over        each hello says which session of the other has failed here: one that has met a
//               session of ours which we had given up already would be repeated for ever
//
// A peer that fails is tried again, with a new session, until it has a card no more.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "base/assert.hpp"
#include "base/atomics.hpp"
#include "base/log.hpp"
#include "base/planted.hpp"
#include "copyrpc/node.hpp"

namespace copyrpc {
namespace {

constexpr uint64_t kSoonNs = 1'000'000;

[[nodiscard]] bool is_sane(const RemoteMemory& memory, uint64_t bytes) noexcept {
  return memory.bytes >= bytes && memory.address + memory.bytes >= memory.address;
}

}  // namespace

void Node::set_peer(const Card& card) {
  if (card.node >= peers_.size() || card.node == options_.node) return;
  Peer& peer = peers_[card.node];
  if (peer.state != Peer::State::none && card.incarnation <= peer.card.incarnation) return;
  if (peer.state == Peer::State::none) {
    COPYKV_ASSERT(rings_used_ < peers_max_, "peers={}", peers_max_);
    const uint64_t place = rings_used_++;
    peer.ring = {rings_ + place * (ring_bytes_ + kCreditPageBytes), ring_bytes_};
    peer.mirror_offset = place * (ring_bytes_ + kSentExtraBytes);
    peer.mirror = {sent_ + peer.mirror_offset, ring_bytes_};
    peer.out.resize(batch_slots_);
    peer.in.resize(batch_slots_);
    peer.state = Peer::State::waiting;
  }
  peer.card = card;
  peer.over_session = 0;
  peer.retry_ns = 0;
  if (peer.state != Peer::State::waiting) {
    peer.seen_session = 0;  // sessions of another incarnation count from 1 again
    fail(peer, "it has started again");
  }
}

/// A ring with a new key for the peer, everything at its start, and the hello that says so.
void Node::start_session(Peer& peer) {
  COPYKV_ASSERT(peer.posts_outstanding == 0, "peer={}", peer.id);
  peer.retry_ns = now_ns_ + options_.beat_ns;
  std::memset(peer.ring.base + ring_bytes_, 0, kCreditPageBytes);
  auto memory =
      fabric_.register_memory(peer.ring.base, ring_bytes_ + kCreditPageBytes, Access::remote_write);
  if (!memory) {
    copykv::log_warn("no ring for node {}: {}", peer.id, memory.error);
    return;
  }
  if (const auto connected = fabric_.connect(peer.id, peer.card.address); !connected) {
    copykv::log_warn("node {}: {}", peer.id, connected.error);
    fabric_.deregister(*memory);
    return;
  }
  peer.ring_memory = *memory;
  peer.connected = true;
  peer.session = ++last_session_;
  const auto before = peer.tag;
  while (peer.tag == before) peer.tag = static_cast<uint16_t>(random_.below(kTagMax + 1));
  peer.seen_session = 0;
  peer.heard = false;
  peer.beat = peer.their_beat = 0;
  peer.staged = peer.posted = peer.freed = 0;
  peer.closed = 0;
  peer.open_calls = peer.open_answers = peer.open_call_bytes = peer.open_batch = 0;
  peer.turns_put_off = 0;
  peer.sealed = {};
  peer.batches_posted = peer.batches_through = peer.batches_released = 0;
  peer.received_end = peer.walk_position = 0;
  peer.batches_received = peer.batches_walked = peer.released = peer.released_told = 0;
  peer.bytes_in = peer.bytes_untold = peer.walk_left = 0;
  peer.serve = {};
  peer.state = Peer::State::connecting;
  (void)send_hello(peer);
}

/// False: it has not left; soon again.
bool Node::send_hello(Peer& peer) noexcept {
  Hello hello{};
  hello.magic = kHelloMagic;
  hello.version = kWireVersion;
  hello.leaving = leaving_ ? 1 : 0;
  hello.session = peer.session;
  hello.seen_session = peer.seen_session;
  hello.incarnation = options_.incarnation;
  hello.for_incarnation = peer.card.incarnation;
  hello.ring = peer.ring_memory.remote;
  hello.ring_bytes = ring_bytes_;
  hello.message_bytes_max = options_.message_bytes_max;
  hello.batches_max = batches_max_;
  hello.sender = options_.node;
  hello.tag = peer.tag;
  hello.over_session = static_cast<uint32_t>(peer.over_session);
  hello.checksum = checksum_of(hello);
  const uint64_t offset = peer.mirror_offset + ring_bytes_;
  std::memcpy(sent_ + offset, &hello, sizeof(hello));
  const RemoteMemory to = peer.card.mailbox.at(uint64_t{options_.node} * kMailboxBytes);
  // Not signalled: what is lost is sent again.
  const Fabric::Posted posted =
      fabric_.write_immediate(peer.id, {&sent_memory_, offset, sizeof(hello)}, to,
                              Immediate{Told::hello, options_.node, 0, 0}.pack(), kUnsignalled);
  fabric_.submit();
  if (posted == Fabric::Posted::yes) return true;
  if (posted == Fabric::Posted::full) {  // the connection is still coming up
    peer.retry_ns = now_ns_ + kSoonNs;
    next_beat_ns_ = std::min(next_beat_ns_, peer.retry_ns);
  }
  return false;
}

bool Node::check_hello(const Peer& peer, const Hello& hello) const noexcept {
  return hello.magic == kHelloMagic && hello.version == kWireVersion &&
         hello.checksum == checksum_of(hello) && hello.sender == peer.id &&
         hello.incarnation == peer.card.incarnation &&
         hello.for_incarnation == options_.incarnation && hello.session != 0 &&
         std::has_single_bit(hello.ring_bytes) && hello.ring_bytes >= 4096 &&
         is_sane(hello.ring, uint64_t{hello.ring_bytes} + kCreditPageBytes) &&
         hello.batches_max > 0 && hello.tag <= kTagMax;
}

void Node::on_hello(Peer& peer) noexcept {
  Hello hello;
  std::memcpy(&hello, mailbox_ + uint64_t{peer.id} * kMailboxBytes, sizeof(hello));
  if (peer.state == Peer::State::none || !check_hello(peer, hello) ||
      hello.session <= peer.over_session) {
    ++counters_.stray;
    return;
  }
  peer.heard = true;
  if (peer.state == Peer::State::waiting || peer.state == Peer::State::failing) return;
  // It has met our present session in one of its own that has failed: we would wait for ever.
  if (hello.over_session != 0 && hello.over_session == static_cast<uint32_t>(peer.session)) {
    return fail(peer, "it has ended this session");
  }
  const bool is_new = hello.session != peer.seen_session;
  if (is_new) {
    // The peer has a new ring for us. If we had one already, the old session is over.
    if (peer.seen_session > hello.session) return;  // late
    if (peer.seen_session != 0) return fail(peer, "it has started a new session");
    accept_grant(peer, hello);
  }
  if (peer.state == Peer::State::connecting && hello.seen_session == peer.session) come_up(peer);
  if (peer.state == Peer::State::up && hello.leaving != 0) peer.state = Peer::State::draining;
  if (is_new || hello.seen_session != peer.session) (void)send_hello(peer);
}

void Node::accept_grant(Peer& peer, const Hello& hello) noexcept {
  peer.grant = hello;
  peer.grant.batches_max = std::min(hello.batches_max, batch_slots_);
  peer.seen_session = hello.session;
  peer.mirror.bytes = peer.ring.bytes = std::min(hello.ring_bytes, ring_bytes_);
  peer.share = peer.call_room = peer.answer_room = peer.ring.bytes / 2;
  peer.answer_bytes_max = std::min(options_.message_bytes_max, peer.share - message_cost(0));
  peer.call_bytes_max = std::min(peer.answer_bytes_max, hello.message_bytes_max);
}

void Node::come_up(Peer& peer) noexcept {
  peer.state = Peer::State::up;
  peer.heard = true;
  peer.heard_ns = now_ns_;
  peer.retry_ns = 0;
  copykv::log_info("node {} is up, session {}", peer.id, peer.session);
}

/// Ends the session. What is left of it: its calls, told by take_answers, and its posts.
void Node::fail(Peer& peer, const char* why) noexcept {
  if (peer.state == Peer::State::none || peer.state == Peer::State::waiting ||
      peer.state == Peer::State::failing) {
    return;
  }
  if (peer.usable()) {
    ++counters_.peers_failed;
    copykv::log_warn("node {} failed: {}; {} of its batches were not released", peer.id, why,
                     peer.batches_posted - peer.batches_released);
  }
  peer.state = Peer::State::failing;
  peer.over_session = std::max(peer.over_session, peer.seen_session);
  // From here on nothing of the old session is written to our memory.
  if (!COPYKV_PLANTED(stale_session)) fabric_.deregister(peer.ring_memory);
  peer.ring_memory = {};
  peer.connected = false;
  fabric_.disconnect(peer.id);
  failing_[failing_count_++] = &peer;
  calls_to_check_ = calls_.end();  // the session is over when they are all checked
}

void Node::violate(Peer& peer, const char* what) noexcept {
  ++counters_.violations;
  fail(peer, what);
}

void Node::finish_failing(Peer& peer) noexcept {
  peer.state = Peer::State::waiting;
  peer.retry_ns = now_ns_ + (peer.seen_session != 0 ? options_.retry_ns : options_.beat_ns);
  next_beat_ns_ = std::min(next_beat_ns_, peer.retry_ns);
}

void Node::leave() noexcept {
  leaving_ = true;
  for (Peer& peer : peers_) {
    if (peer.usable()) (void)send_hello(peer);
  }
}

bool Node::write_credit(Peer& peer) noexcept {
  const uint64_t offset = peer.mirror_offset + ring_bytes_ + kCreditOutOffset;
  copykv::poke(*reinterpret_cast<uint64_t*>(sent_ + offset),
               Credit{peer.released, peer.beat}.pack());
  const Fabric::Posted posted =
      fabric_.write(peer.id, {&sent_memory_, offset, sizeof(uint64_t)},
                    peer.grant.ring.at(peer.grant.ring_bytes), kUnsignalled);
  if (posted != Fabric::Posted::yes) {
    ++counters_.send_full;
    return false;
  }
  submit_due_ = true;
  ++counters_.credit_writes;
  peer.released_told = peer.released;
  peer.bytes_untold = 0;
  return true;
}

void Node::read_credit_cell(Peer& peer) noexcept {
  const Credit credit = Credit::unpack(
      copykv::observe(*reinterpret_cast<const uint64_t*>(peer.ring.base + ring_bytes_)));
  if (credit.beat != peer.their_beat) {
    peer.their_beat = credit.beat;
    peer.heard = true;
  }
  take_credit(peer, credit.released);
}

/// `released` is what the peer says: batches of ours that it is done with.
void Node::take_credit(Peer& peer, uint32_t released) noexcept {
  const uint32_t fresh = released - peer.batches_released;
  if (fresh > uint32_t{1} << 31) return;  // older than what we know: cell and header race
  if (fresh > peer.batches_posted - peer.batches_released) {
    return violate(peer, "it has released batches that were never sent");
  }
  for (; peer.batches_released != released; ++peer.batches_released) {
    const OutBatch& batch = peer.out_batch(peer.batches_released);
    peer.freed += batch.bytes;
    peer.call_room += batch.call_bytes;
  }
}

}  // namespace copyrpc
