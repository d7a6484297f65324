// SPDX-License-Identifier: Apache-2.0
// The fabric `dc`: one target that all peers send to, and a pool of initiators that send to all
// peers. A connection is a slot of the side channel, an address handle and a flow of the sender.
//
// What a peer has sent cannot be cut off by closing its connection, since the target is everyone's:
// taking its memory away (deregister) is what ends its writes.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <vector>

#include "base/log.hpp"
#include "copyrpc/fabric/verbs/dc_sender.hpp"
#include "copyrpc/fabric/verbs/endpoint.hpp"

namespace copyrpc {
namespace {

using copykv::Failure;
using copykv::Outcome;
using namespace verbs;

constexpr uint32_t kInitiatorDepthMax = 128;
constexpr uint32_t kQuota = 8;
constexpr uint32_t kInlineBytesMax = 172;  // with its headers 256 B: four basic blocks of mlx5

DcSizes sizes_of(const VerbsOptions& options, const Device& device) {
  DcSizes sizes;
  sizes.initiators = std::max(options.initiators, 1U);
  // A request with its inline bytes takes four basic blocks, and the limit counts those.
  const auto blocks = static_cast<uint32_t>(std::max(device.limits.max_qp_wr, 4));
  sizes.depth = std::min(kInitiatorDepthMax, blocks / 4);
  sizes.posts_to_one = std::max(options.posts_max, 1U);
  sizes.posts = std::min(options.peers_max * sizes.posts_to_one, kPostsInTotalMax);
  sizes.quota = kQuota;
  sizes.inline_bytes = std::min(options.inline_bytes, kInlineBytesMax);
  return sizes;
}

uint32_t receives_of(const VerbsOptions& options, const Device& device) {
  // The device rounds up to a power of two, less one.
  const auto most =
      static_cast<uint32_t>(device.limits.max_srq_wr) / ReceiveQueue::kGroup * ReceiveQueue::kGroup;
  return receive_entries(options, most);
}

/// Empty, or why the device has no DC.
std::string no_dc(const Device& device) {
  if (mlx5dv_is_supported(device.context->device)) return {};
  return fmt::format("{} has no DC: it is not of mlx5 (ConnectX-4 or later)", device.name);
}

class DcFabric final : public Endpoint {
 public:
  DcFabric(const VerbsOptions& options, Device device);
  ~DcFabric() override { disconnect_all(); }
  [[nodiscard]] Outcome<void> open();

  [[nodiscard]] std::string_view name() const noexcept override { return "dc"; }

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
  void submit() noexcept override {
    if (sender_->waits()) sender_->submit();
  }
  [[nodiscard]] uint32_t poll(std::span<Completion> completions) noexcept override;

 private:
  using Kind = Request::Kind;

  [[nodiscard]] Posted post(Kind kind, PeerId peer, const LocalPart& local,
                            const RemoteMemory& remote, uint32_t immediate,
                            uint64_t context) noexcept;
  [[nodiscard]] bool take(const ibv_wc& found, Completion& out) noexcept override;
  void ended(const ibv_wc& found) noexcept;
  void on_event(const AsyncEvent& event) noexcept override;
  void fail_all(std::string_view why) noexcept;

  // SideEvents
  [[nodiscard]] bool prepare(Slot slot, Offer& mine) noexcept override;
  [[nodiscard]] bool establish(Slot slot, const Offer& theirs) noexcept override;
  void up(PeerId peer, Slot slot) noexcept override;
  void release(Slot slot, PeerId peer) noexcept override;

  const DcSizes sizes_;
  Dct target_;
  std::vector<Owned<ibv_ah>> ways_;  ///< by slot
  std::optional<DcSender> sender_;
};

DcFabric::DcFabric(const VerbsOptions& options, Device device)
    : Endpoint(verbs::Kind::dc, options, std::move(device)), sizes_(sizes_of(options, device_)) {
  size_for(sizes_.posts);
  limits_.posts_max = std::min(sizes_.posts_to_one, sizes_.posts);
  limits_.send_queues = sizes_.initiators;
  limits_.transfer_bytes_max =
      static_cast<uint32_t>(std::min<uint64_t>(device_.link.max_msg_sz, kTransferBytesMax));
}

Outcome<void> DcFabric::open() {
  if (std::string reason = no_dc(device_); !reason.empty()) return Failure{std::move(reason)};
  // Every request of every initiator may end with an entry of its own, when it is flushed.
  const uint32_t sends = sizes_.initiators * sizes_.depth;
  if (auto opened = open_queues(receives_of(options_, device_), sends); !opened) return opened;
  auto target = Dct::make(device_, completions_->get(), receives_->get());
  if (!target) return Failure{target.error};
  target_ = std::move(*target);
  if (auto opened = open_side(); !opened) return opened;
  ways_.resize(side_->slots());
  sender_.emplace(device_, sizes_, side_->slots());
  if (auto opened = sender_->open(completions_->get()); !opened) return opened;
  limits_.inline_bytes = sender_->inline_bytes();
  return {};
}

bool DcFabric::prepare(Slot, Offer& mine) noexcept {
  mine.put(target_.end(device_));
  return true;
}

bool DcFabric::establish(Slot slot, const Offer& theirs) noexcept {
  const auto end = theirs.get<DcEnd>();
  if (!fits(device_, end.path)) return false;
  ibv_ah_attr way = way_to(device_, end.path);
  ways_[slot].reset(ibv_create_ah(device_.domain.get(), &way));
  if (!ways_[slot]) return false;
  sender_->open_flow(slot, {ways_[slot].get(), end.number, end.access_key});
  return true;
}

void DcFabric::up(PeerId peer, Slot slot) noexcept {
  Endpoint::up(peer, slot);
  sender_->name_flow(slot, peer);
}

void DcFabric::release(Slot slot, PeerId) noexcept {
  sender_->close_flow(slot, pending_);
  ways_[slot].reset();  // requests in flight have a copy of their own
}

Fabric::Posted DcFabric::post(Kind kind, PeerId peer, const LocalPart& local,
                              const RemoteMemory& remote, uint32_t immediate,
                              uint64_t context) noexcept {
  const Peer& to = peers_[peer];
  if (to.state != Peer::State::up) [[unlikely]]
    return to.refusal();
  Request request;
  if (!request.fill(kind, local, remote, immediate)) [[unlikely]] {
    copykv::log_info("dc: a key of peer {} is none of a verbs device", peer);
    side_->fail(to.slot, EACCES, *this);
    return Posted::down;
  }
  return sender_->post(to.slot, request, context) ? Posted::yes : Posted::full;
}

uint32_t DcFabric::poll(std::span<Completion> completions) noexcept {
  look_aside();
  uint32_t taken = pending_.take(completions);
  std::array<ibv_wc, kCompletionsPerPoll> found;
  const size_t room = std::min<size_t>(found.size(), completions.size() - taken);
  if (room == 0) return taken;
  const uint32_t count = completions_->poll(std::span(found).first(room));
  if (count == 0) return taken;
  for (uint32_t at = 0; at < count; ++at)
    if (take(found[at], completions[taken])) ++taken;
  if (!receives_->replenish()) [[unlikely]]
    fail_all("the receive queue takes no entries");
  if (sender_->waits()) sender_->submit();
  return taken + pending_.take(completions.subspan(taken));
}

/// What has ended of ours goes to pending_.
bool DcFabric::take(const ibv_wc& found, Completion& out) noexcept {
  if (found.wr_id != kReceiveId) {
    ended(found);
    return false;
  }
  receives_->taken();
  out = {Completion::Kind::arrived, 0, kNoPeer, be32toh(found.imm_data), 0};
  return found.status == IBV_WC_SUCCESS && found.opcode == IBV_WC_RECV_RDMA_WITH_IMM;
}

void DcFabric::ended(const ibv_wc& found) noexcept {
  int32_t error = 0;
  for (Slot slot = sender_->completed(found, pending_, error); slot != kNoSlot;
       slot = sender_->next_failed())
    side_->fail(slot, error, *this);
}

void DcFabric::fail_all(std::string_view why) noexcept {
  copykv::log_error("dc: {}: {}", device_.name, why);
  for (const Peer& peer : peers_)
    if (peer.state == Peer::State::up) side_->fail(peer.slot, EIO, *this);
}

void DcFabric::on_event(const AsyncEvent& event) noexcept {
  if (event.fatal)
    fail_all(event.words);
  else  // an initiator's failure is told by its completions, a refused access by the peer's
    copykv::log_info("dc: {}: {}", device_.name, event.words);
}

}  // namespace

Outcome<std::unique_ptr<Fabric>> make_dc_fabric(const VerbsOptions& options) {
  return make_endpoint<DcFabric>("dc", options);
}

std::string dc_missing(const VerbsOptions& options) {
  auto device = open_device(options);
  return device ? no_dc(*device) : device.error;
}

Outcome<uint32_t> dc_inline_granted(const VerbsOptions& options) {
  auto device = open_device(options);
  if (!device) return Failure{device.error};
  if (std::string reason = no_dc(*device); !reason.empty()) return Failure{std::move(reason)};
  auto queues = ProbeQueues::make(*device);
  if (!queues) return Failure{queues.error};
  const auto target = Dct::make(*device, queues->completions.get(), queues->receives.get());
  if (!target) return Failure{target.error};
  const uint32_t inline_bytes = std::min(options.inline_bytes, kInlineBytesMax);
  auto initiator =
      Dci::make(*device, queues->completions.get(), {ProbeQueues::kEntries, inline_bytes});
  if (!initiator) return Failure{initiator.error};
  return initiator->inline_bytes();
}

}  // namespace copyrpc
