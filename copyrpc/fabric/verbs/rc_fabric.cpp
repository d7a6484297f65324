// SPDX-License-Identifier: Apache-2.0
// The fabric `rc`. A connection has a slot of the side channel, a queue pair, and a ring of what is
// in flight; a peer has at most one connection. A queue pair that fails ends with its connection,
// and a new one is made for the next: what its posts had not reported by then is `failed`.
//
//   request number (wr_id)   bits 63..48 slot, 47..32 which connection in that slot, 31..0 request
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "base/log.hpp"
#include "copyrpc/fabric/verbs/endpoint.hpp"
#include "copyrpc/fabric/verbs/errors.hpp"
#include "copyrpc/fabric/verbs/rc_queue_pair.hpp"
#include "copyrpc/fabric/verbs/rc_sizes.hpp"
#include "copyrpc/fabric/verbs/send_ring.hpp"

namespace copyrpc {
namespace {

using copykv::Outcome;
using namespace verbs;

class RcFabric final : public Endpoint {
 public:
  RcFabric(const VerbsOptions& options, Device device);
  ~RcFabric() override { disconnect_all(); }
  [[nodiscard]] Outcome<void> open();

  [[nodiscard]] std::string_view name() const noexcept override { return "rc"; }

  [[nodiscard]] Posted write(PeerId peer, const LocalPart& from, const RemoteMemory& to,
                             uint64_t context) noexcept override {
    return post(Kind::write, peer, from, to, 0, context);
  }
  [[nodiscard]] Posted write_immediate(PeerId peer, const LocalPart& from, const RemoteMemory& to,
                                       uint32_t immediate, uint64_t context) noexcept override {
    return post(Kind::write_immediate, peer, from, to, immediate, context);
  }
  [[nodiscard]] Posted read(PeerId peer, const LocalPart& to, const RemoteMemory& from,
                            uint64_t context) noexcept override {
    return post(Kind::read, peer, to, from, 0, context);
  }
  void submit() noexcept override {}  // posts leave at once
  [[nodiscard]] uint32_t poll(std::span<Completion> completions) noexcept override;

 private:
  using Kind = Request::Kind;
  struct Connection {
    RcQueuePair queue;
    SendRing ring;
    uint16_t life = 0;  ///< which connection in this slot
  };

  [[nodiscard]] Posted post(Kind kind, PeerId peer, const LocalPart& local,
                            const RemoteMemory& remote, uint32_t immediate,
                            uint64_t context) noexcept;
  [[nodiscard]] Posted post_pieces(Slot slot, Request request, uint32_t pieces,
                                   uint64_t context) noexcept;
  [[nodiscard]] bool take(const ibv_wc& found, Completion& out) noexcept override;
  [[nodiscard]] bool ended(const ibv_wc& found, Completion& out) noexcept;
  void on_event(const AsyncEvent& event) noexcept override;
  void fail(Slot slot, int32_t error, std::string_view why) noexcept;
  void fail_queue(uint32_t number, int32_t error, std::string_view why) noexcept;
  void fail_all(std::string_view why) noexcept;

  // SideEvents
  [[nodiscard]] bool prepare(Slot slot, Offer& mine) noexcept override;
  [[nodiscard]] bool establish(Slot slot, const Offer& theirs) noexcept override;
  void up(PeerId peer, Slot slot) noexcept override;
  void release(Slot slot, PeerId peer) noexcept override;

  const RcEndpointSizes sizes_;
  uint32_t message_bytes_max_ = 0;
  std::vector<Connection> connections_;  ///< by slot
  std::vector<PeerId> peer_of_;          ///< by slot
  uint32_t in_flight_ = 0;
  uint32_t leftovers_ = 0;  ///< completions of queue pairs that are gone, at most
};

RcFabric::RcFabric(const VerbsOptions& options, Device device)
    : Endpoint(verbs::Kind::rc, options, std::move(device)),
      sizes_(endpoint_sizes(options, device_)) {
  size_for(sizes_.posts_in_total);
  message_bytes_max_ =
      static_cast<uint32_t>(std::min<uint64_t>(device_.link.max_msg_sz, kTransferBytesMax));
  limits_.posts_max = sizes_.posts_to_one;
  limits_.transfer_bytes_max =
      static_cast<uint32_t>(std::min(uint64_t{message_bytes_max_} * kPiecesMax, kTransferBytesMax));
}

Outcome<void> RcFabric::open() {
  if (auto opened = open_queues(sizes_.receives, sizes_.posts_in_total); !opened) return opened;
  if (auto opened = open_side(); !opened) return opened;
  connections_.resize(side_->slots());
  peer_of_.assign(side_->slots(), kNoPeer);
  return {};
}

bool RcFabric::prepare(Slot slot, Offer& mine) noexcept {
  auto made = RcQueuePair::make(device_, completions_->get(), receives_->get(),
                                {sizes_.posts_to_one, options_.inline_bytes});
  if (!made) {
    copykv::log_warn("rc: {}", made.error);
    return false;
  }
  Connection& connection = connections_[slot];
  connection.queue = std::move(*made);
  connection.ring = SendRing(sizes_.posts_to_one);
  ++connection.life;
  limits_.inline_bytes = connection.queue.inline_bytes();
  mine.put(connection.queue.end(device_));
  return true;
}

bool RcFabric::establish(Slot slot, const Offer& theirs) noexcept {
  return connections_[slot].queue.connect(device_, theirs.get<RcEnd>());
}

void RcFabric::up(PeerId peer, Slot slot) noexcept {
  Endpoint::up(peer, slot);
  peer_of_[slot] = peer;
}

/// Ends the queue pair and all that it had in flight: once it is destroyed the device touches
/// neither side's memory on its behalf.
void RcFabric::release(Slot slot, PeerId peer) noexcept {
  Connection& connection = connections_[slot];
  SendRing& ring = connection.ring;
  connection.queue = {};
  in_flight_ -= ring.in_flight();
  leftovers_ += ring.in_flight();
  while (ring.in_flight() > 0)
    if (const uint64_t context = ring.end_oldest(); context != kUnsignalled)
      pending_.push({Completion::Kind::failed, ECANCELED, peer, 0, context});
  peer_of_[slot] = kNoPeer;
}

Fabric::Posted RcFabric::post(Kind kind, PeerId peer, const LocalPart& local,
                              const RemoteMemory& remote, uint32_t immediate,
                              uint64_t context) noexcept {
  const Peer& to = peers_[peer];
  if (to.state != Peer::State::up) [[unlikely]]
    return to.refusal();
  const uint32_t pieces =
      local.bytes <= message_bytes_max_ ? 1 : (local.bytes - 1) / message_bytes_max_ + 1;
  if (!connections_[to.slot].ring.has_room(pieces) ||
      in_flight_ + leftovers_ + pieces > sizes_.posts_in_total)
    return Posted::full;
  Request request;
  if (!request.fill(kind, local, remote, immediate)) [[unlikely]] {
    fail(to.slot, EACCES, "a key that no device of this kind has");
    return Posted::down;
  }
  return post_pieces(to.slot, request, pieces, context);
}

/// Writes of several pieces announce the last one only: they take effect in order.
Fabric::Posted RcFabric::post_pieces(Slot slot, Request request, uint32_t pieces,
                                     uint64_t context) noexcept {
  Connection& connection = connections_[slot];
  const Kind kind = request.kind;
  uint32_t left = request.bytes;
  for (uint32_t piece = 0; piece < pieces; ++piece) {
    const bool last = piece + 1 == pieces;
    const uint64_t piece_context = last ? context : kUnsignalled;
    request.kind = kind == Kind::write_immediate && !last ? Kind::write : kind;
    request.bytes = std::min(left, message_bytes_max_);
    const bool signalled = connection.ring.must_signal(piece_context);
    const uint64_t id =
        uint64_t{slot} << 48 | uint64_t{connection.life} << 32 | connection.ring.next();
    if (const int error = connection.queue.post(request, id, signalled); error != 0) [[unlikely]] {
      if (error == ENOMEM && piece == 0) return Posted::full;
      fail(slot, error, "the device refuses a post");
      return Posted::down;
    }
    connection.ring.push(piece_context, signalled);
    ++in_flight_;
    left -= request.bytes;
    request.local += request.bytes;
    request.remote += request.bytes;
  }
  return Posted::yes;
}

uint32_t RcFabric::poll(std::span<Completion> completions) noexcept {
  look_aside();
  uint32_t taken = pending_.take(completions);
  std::array<ibv_wc, kCompletionsPerPoll> found;
  const size_t room = std::min<size_t>(found.size(), completions.size() - taken);
  if (room == 0) return taken;
  const uint32_t count = completions_->poll(std::span(found).first(room));
  for (uint32_t at = 0; at < count; ++at)
    if (take(found[at], completions[taken])) ++taken;
  if (count < room) leftovers_ = 0;
  if (!receives_->replenish()) [[unlikely]]
    fail_all("the receive queue takes no entries");
  return taken;
}

bool RcFabric::take(const ibv_wc& found, Completion& out) noexcept {
  if (found.wr_id != kReceiveId) return ended(found, out);
  receives_->taken();
  if (found.status != IBV_WC_SUCCESS) [[unlikely]] {
    fail_queue(found.qp_num, status_errno(found.status), status_words(found.status));
    return false;
  }
  out = {Completion::Kind::arrived, 0, kNoPeer, be32toh(found.imm_data), 0};
  return found.opcode == IBV_WC_RECV_RDMA_WITH_IMM;
}

/// A post of ours.
bool RcFabric::ended(const ibv_wc& found, Completion& out) noexcept {
  const auto slot = static_cast<Slot>(found.wr_id >> 48);
  Connection& connection = connections_[slot];
  if (!connection.queue.exists() || connection.life != static_cast<uint16_t>(found.wr_id >> 32))
    return false;  // of a queue pair that is gone: its end has been told
  if (found.status != IBV_WC_SUCCESS) [[unlikely]] {
    fail(slot, status_errno(found.status), status_words(found.status));
    return false;
  }
  uint64_t context = kUnsignalled;
  in_flight_ -= connection.ring.end_through(static_cast<uint32_t>(found.wr_id), context);
  out = {Completion::Kind::done, 0, peer_of_[slot], 0, context};
  return context != kUnsignalled;
}

void RcFabric::fail(Slot slot, int32_t error, std::string_view why) noexcept {
  copykv::log_info("rc: the queue pair to peer {} has failed: {}",
                   static_cast<int32_t>(peer_of_[slot]), why);
  side_->fail(slot, error, *this);
}

void RcFabric::fail_queue(uint32_t number, int32_t error, std::string_view why) noexcept {
  for (Slot slot = 0; slot < connections_.size(); ++slot)
    if (connections_[slot].queue.exists() && connections_[slot].queue.number() == number)
      return fail(slot, error, why);
}

void RcFabric::fail_all(std::string_view why) noexcept {
  for (Slot slot = 0; slot < connections_.size(); ++slot)
    if (connections_[slot].queue.exists()) fail(slot, EIO, why);
}

void RcFabric::on_event(const AsyncEvent& event) noexcept {
  if (event.of_queue_pair)
    fail_queue(event.queue_pair, EIO, event.words);
  else if (event.fatal)
    fail_all(event.words);
  else
    copykv::log_info("rc: {}: {}", device_.name, event.words);
}

}  // namespace

Outcome<std::unique_ptr<Fabric>> make_rc_fabric(const VerbsOptions& options) {
  return make_endpoint<RcFabric>("rc", options);
}

std::string rc_missing(const VerbsOptions& options) {
  return open_device(options).error;
}

Outcome<uint32_t> rc_inline_granted(const VerbsOptions& options) {
  auto device = open_device(options);
  if (!device) return copykv::Failure{device.error};
  auto queues = ProbeQueues::make(*device);
  if (!queues) return copykv::Failure{queues.error};
  auto queue = RcQueuePair::make(*device, queues->completions.get(), queues->receives.get(),
                                 {ProbeQueues::kEntries, options.inline_bytes});
  if (!queue) return copykv::Failure{queue.error};
  return queue->inline_bytes();
}

}  // namespace copyrpc
