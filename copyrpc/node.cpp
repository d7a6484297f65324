// SPDX-License-Identifier: Apache-2.0
// Memory, the poll, and what is done now and then.
#include "copyrpc/node.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "base/assert.hpp"
#include "base/planted.hpp"
#include "base/units.hpp"

namespace copyrpc {

using copykv::Failure;
using copykv::format_bytes;
using copykv::Outcome;

namespace {

constexpr uint32_t kRingBytesMax = 1U << 20;
static_assert((kRingBytesMax - sizeof(BatchHeader)) / sizeof(MessageHeader) <= UINT16_MAX,
              "the messages of a batch are counted in 16 bits");
constexpr uint32_t kPageBytes = 4096;

[[nodiscard]] std::byte* map_memory(uint64_t bytes) noexcept {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<std::byte*>(memory);
}

}  // namespace

template <class T>
void Node::Fifo<T>::size_for(uint64_t count) {
  entries.resize(std::bit_ceil(count + 1));
}

Node::Node(const NodeOptions& options, Fabric& fabric, const copykv::Clock& clock)
    : options_(options),
      fabric_(fabric),
      clock_(clock),
      answer_room_max_(round_up_16(options.message_bytes_max) / kGrainBytes),
      random_(options.seed ^ options.incarnation ^ uint64_t{options.node} << 48),
      peers_(options.nodes),
      calls_(options.calls_max) {}

Outcome<std::unique_ptr<Node>> Node::create(const NodeOptions& options, Fabric& fabric,
                                            const copykv::Clock& clock) {
  COPYKV_ASSERT(options.nodes <= kNodesMax && options.node < options.nodes &&
                    options.incarnation > 0 && options.batches_max > 0 && options.calls_max > 0,
                "node={} nodes={} incarnation={}", options.node, options.nodes,
                options.incarnation);
  std::unique_ptr<Node> node(new Node(options, fabric, clock));
  if (Outcome<void> taken = node->take_mailbox(); !taken) return Failure{taken.error};
  if (options.peers_max != kPeersLater) {
    const uint32_t peers = options.peers_max == 0 ? options.nodes - 1 : options.peers_max;
    if (Outcome<void> taken = node->take_rings(peers); !taken) return Failure{taken.error};
  }
  return node;
}

/// Sizes: rings from the budget, batches from what the fabric can receive.
Outcome<void> Node::plan_rings(uint32_t peers_max) {
  peers_max_ = std::min(peers_max, options_.nodes - 1);
  if (peers_max_ > fabric_.limits().peers_max) {
    return Failure{fmt::format("{} peers, but {} reaches {}; use fewer daemon threads per rank",
                               peers_max_, fabric_.name(), fabric_.limits().peers_max)};
  }
  const uint32_t largest = message_cost(options_.message_bytes_max);
  const auto least = std::max<uint64_t>(std::bit_ceil(uint64_t{2} * largest), kPageBytes);
  const uint64_t share = options_.receive_budget_bytes / std::max(peers_max_, 1U);
  const uint64_t wanted = options_.ring_bytes > 0
                              ? options_.ring_bytes
                              : std::min<uint64_t>(std::bit_floor(share), kRingBytesMax);
  if (wanted < least || !std::has_single_bit(wanted) || wanted > kRingBytesMax) {
    return Failure{fmt::format(
        "a ring of {} for each of {} peers; it must be a power of two from {} (two messages) to "
        "{}: give {} of receive memory, or run fewer ranks",
        format_bytes(wanted), peers_max_, format_bytes(least), format_bytes(kRingBytesMax),
        format_bytes(least * peers_max_))};
  }
  ring_bytes_ = static_cast<uint32_t>(wanted);
  batches_max_ = options_.batches_max;
  if (const uint32_t entries = fabric_.limits().receive_entries; entries > 0 && peers_max_ > 0) {
    // A hello of each peer may stand there as well.
    const uint32_t per_peer = entries / peers_max_;
    if (per_peer < 2) {
      return Failure{fmt::format("{} receive entries of {} for {} peers; two each are needed",
                                 entries, fabric_.name(), peers_max_)};
    }
    batches_max_ = std::min(batches_max_, per_peer - 1);
  }
  batch_slots_ = std::bit_ceil(batches_max_);
  return {};
}

Outcome<void> Node::take_mailbox() {
  const uint64_t bytes = uint64_t{options_.nodes} * kMailboxBytes;
  mailbox_ = map_memory(bytes);
  if (mailbox_ == nullptr) {
    return Failure{fmt::format("cannot map {}: {}; raise ulimit -v", format_bytes(bytes),
                               std::strerror(errno))};
  }
  auto mailbox = fabric_.register_memory(mailbox_, bytes, Access::remote_write);
  if (!mailbox) return Failure{mailbox.error};
  mailbox_memory_ = *mailbox;
  active_.resize(options_.nodes);
  failing_.resize(options_.nodes);
  for (PeerId id = 0; id < options_.nodes; ++id) peers_[id].id = id;
  serving_.size_for(options_.nodes);
  transfers_.size_for(options_.transfers_max);
  stage_scratch_.resize(round_up_16(options_.message_bytes_max));
  answer_scratch_.bytes.resize(round_up_16(options_.message_bytes_max));
  call_scratch_.bytes.resize(round_up_16(options_.message_bytes_max));
  now_ns_ = clock_.now_ns();
  return {};
}

Outcome<void> Node::take_rings(uint32_t peers_max) {
  if (Outcome<void> planned = plan_rings(peers_max); !planned) return planned;
  const uint64_t peers = std::max(peers_max_, 1U);
  rings_bytes_ = peers * (ring_bytes_ + kCreditPageBytes);
  sent_bytes_ = peers * (ring_bytes_ + kSentExtraBytes);
  rings_ = map_memory(rings_bytes_);
  sent_ = map_memory(sent_bytes_);
  if (rings_ == nullptr || sent_ == nullptr) {
    return Failure{
        fmt::format("cannot map {} for rings: {}; raise ulimit -v, or give less "
                    "receive memory",
                    format_bytes(rings_bytes_ + sent_bytes_), std::strerror(errno))};
  }
  auto sent = fabric_.register_memory(sent_, sent_bytes_, Access::local);
  if (!sent) return Failure{sent.error};
  sent_memory_ = *sent;
  arrivals_.size_for(2 * peers * batches_max_);
  return {};
}

Node::~Node() {
  for (Peer& peer : peers_) {
    if (peer.connected) fabric_.disconnect(peer.id);
    if (peer.ring_memory.registered()) fabric_.deregister(peer.ring_memory);
  }
  if (mailbox_memory_.registered()) fabric_.deregister(mailbox_memory_);
  if (sent_memory_.registered()) fabric_.deregister(sent_memory_);
  if (rings_ != nullptr) (void)::munmap(rings_, rings_bytes_);
  if (sent_ != nullptr) (void)::munmap(sent_, sent_bytes_);
  if (mailbox_ != nullptr) {
    (void)::munmap(mailbox_, uint64_t{options_.nodes} * kMailboxBytes);
  }
}

Card Node::card() const {
  return {options_.node, options_.incarnation, mailbox_memory_.remote, fabric_.address()};
}

uint32_t Node::take_transfers(std::span<TransferEnd> ends) noexcept {
  uint32_t taken = 0;
  for (; taken < ends.size() && !transfers_.empty(); ++taken) {
    ends[taken] = transfers_.front();
    transfers_.pop();
  }
  return taken;
}

uint32_t Node::poll() noexcept {
  const uint32_t count = fabric_.poll(completions_);
  for (uint32_t index = 0; index < count; ++index) on_completion(completions_[index]);
  return count;
}

void Node::on_completion(const Completion& completion) noexcept {
  if (completion.kind == Completion::Kind::arrived) return on_arrival(completion.immediate);
  Peer& peer = peers_[completion.peer];
  if (completion.kind == Completion::Kind::peer_lost) return fail(peer, "its connection is gone");
  const bool ok = completion.kind == Completion::Kind::done;
  if (completion.context != kUnsignalled) {
    COPYKV_ASSERT(peer.posts_outstanding > 0, "peer={}", peer.id);
    --peer.posts_outstanding;
    const auto number = static_cast<uint32_t>(completion.context);
    switch (static_cast<Post>(completion.context >> 32)) {
      case Post::batch:
        ++peer.batches_through;
        --batches_out_;
        break;
      case Post::transfer:
        transfers_.push({number, ok});
        break;
      case Post::part:
        break;
    }
  }
  if (!ok) fail(peer, std::strerror(completion.error));
}

/// Who knows our tag has got our grant, and we have the peer's: its hello that would have said so
/// may be on its way for ever, and a batch that is not counted would shift all that come after it.
bool Node::is_of_session(Peer& peer, uint16_t tag) noexcept {
  if (tag != peer.tag) return COPYKV_PLANTED(stale_session) && peer.usable();
  if (peer.state == Peer::State::connecting && peer.seen_session != 0) come_up(peer);
  return peer.usable();
}

void Node::on_arrival(uint32_t word) noexcept {
  const Immediate immediate = Immediate::unpack(word);
  if (immediate.sender >= peers_.size() || immediate.sender == options_.node) {
    ++counters_.stray;
    return;
  }
  Peer& peer = peers_[immediate.sender];
  if (immediate.told == Told::hello) {
    on_hello(peer);
  } else if (immediate.told == Told::batch && is_of_session(peer, immediate.tag)) {
    const uint32_t behind = (peer.batches_received - immediate.number) % kImmediateNumbers;
    if (behind == 0) return on_batch(peer);
    if (behind > kImmediateNumbers / 2) return violate(peer, "an immediate before its turn");
    ++counters_.stray;  // told once more
  } else {
    ++counters_.stray;
  }
}

void Node::tick(uint64_t now_ns) noexcept {
  now_ns_ = now_ns;
  for (uint32_t index = 0; index < failing_count_;) {
    Peer& peer = *failing_[index];
    if (calls_to_check_ == 0 && peer.posts_outstanding == 0) {
      failing_[index] = failing_[--failing_count_];
      finish_failing(peer);
    } else {
      ++index;
    }
  }
  if (now_ns < next_beat_ns_) return;
  next_beat_ns_ = now_ns + options_.beat_ns / 4;
  if (calls_to_check_ == 0) calls_to_check_ = calls_.end();
  beat();
}

/// One pass over all peers.
void Node::beat() noexcept {
  for (Peer& peer : peers_) {
    switch (peer.state) {
      case Peer::State::none:
      case Peer::State::failing:
        break;
      case Peer::State::waiting:
        if (now_ns_ >= peer.retry_ns) start_session(peer);
        break;
      case Peer::State::connecting:
        if (now_ns_ >= peer.retry_ns) {
          if (peer.posts_outstanding > 0 || !peer.connected) break;
          peer.retry_ns = now_ns_ + options_.beat_ns;
          (void)send_hello(peer);
        }
        break;
      case Peer::State::up:
      case Peer::State::draining: {
        read_credit_cell(peer);
        if (peer.heard) {
          peer.heard = false;
          peer.heard_ns = now_ns_;
        } else if (now_ns_ - peer.heard_ns > options_.peer_timeout_ns) {
          fail(peer, "it has been silent for too long");
          break;
        }
        if (now_ns_ >= peer.retry_ns) {  // the next beat
          ++peer.beat;
          if (write_credit(peer)) peer.retry_ns = now_ns_ + options_.beat_ns;
        }
        break;
      }
    }
  }
}

bool Node::busy() const noexcept {
  return calls_.in_use() > 0 || active_count_ > 0 || failing_count_ > 0 || !arrivals_.empty() ||
         !serving_.empty() || !transfers_.empty();
}

uint32_t Node::peers_up() const noexcept {
  return static_cast<uint32_t>(std::count_if(peers_.begin(), peers_.end(), [](const Peer& peer) {
    return peer.state == Peer::State::up;
  }));
}

bool Node::is_valid() const {
  return std::all_of(peers_.begin(), peers_.end(),
                     [this](const Peer& peer) { return is_valid(peer); });
}

std::string Node::check_rest() const {
  for (const Peer& peer : peers_) {
    if (!peer.usable()) continue;
    if (peer.released != peer.batches_received || peer.bytes_in != 0) {
      return fmt::format("{} of {} batches of node {} are not released",
                         peer.batches_received - peer.released, peer.batches_received, peer.id);
    }
    if (peer.answer_room != peer.share) {
      return fmt::format("{} B are reserved for answers of node {} to no call",
                         peer.share - peer.answer_room, peer.id);
    }
    if (peer.open_messages() != 0 || peer.sealed.end != 0) {
      return fmt::format("{} messages to node {} do not leave", peer.open_messages(), peer.id);
    }
    if (peer.posts_outstanding != 0) {
      return fmt::format("{} posts to node {} never end", peer.posts_outstanding, peer.id);
    }
  }
  if (!busy()) return {};
  return fmt::format("{} calls, {} arrivals and {} active peers are left", calls_.in_use(),
                     arrivals_.size(), active_count_);
}

bool Node::is_valid(const Peer& peer) const {
  if (!peer.usable()) return true;
  uint64_t out_bytes = peer.staged - peer.posted;
  uint64_t call_bytes = peer.open_call_bytes + peer.sealed.call_bytes;
  for (uint32_t number = peer.batches_released; number != peer.batches_posted; ++number) {
    out_bytes += peer.out_batch(number).bytes;
    call_bytes += peer.out_batch(number).call_bytes;
  }
  return out_bytes == peer.staged - peer.freed && out_bytes <= peer.mirror.bytes &&
         call_bytes == peer.share - peer.call_room && call_bytes <= peer.share &&
         peer.answer_room <= peer.share && peer.bytes_in <= peer.ring.bytes &&
         peer.closed == (peer.sealed.end > 0 ? peer.sealed.end : peer.posted) &&
         (peer.open_messages() == 0) == (peer.staged == peer.closed) &&
         peer.batches_posted - peer.batches_released <= peer.grant.batches_max;
}

}  // namespace copyrpc
