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

#include "base/assert.hpp"
#include "base/log.hpp"
#include "copyrpc/fabric/pending.hpp"
#include "copyrpc/fabric/verbs/async_events.hpp"
#include "copyrpc/fabric/verbs/completion_queue.hpp"
#include "copyrpc/fabric/verbs/dc_sender.hpp"
#include "copyrpc/fabric/verbs/errors.hpp"
#include "copyrpc/fabric/verbs/gid.hpp"
#include "copyrpc/fabric/verbs/memory.hpp"
#include "copyrpc/fabric/verbs/receive_queue.hpp"

namespace copyrpc {
namespace {

using copykv::Failure;
using copykv::Outcome;
using namespace verbs;

constexpr uint32_t kReceiveEntriesMin = 4096;
constexpr uint32_t kReceivesPerPeer = 64;
constexpr uint32_t kPostsInTotalMax = 16'384;
constexpr uint32_t kCompletionsPerPoll = 32;
constexpr uint32_t kInitiatorDepthMax = 128;
constexpr uint32_t kQuota = 8;
constexpr uint32_t kInlineBytesMax = 172;  // with its headers 256 B: four basic blocks of mlx5
constexpr uint64_t kTransferBytesMax = uint64_t{1} << 30;
// Connection events are rare, and asking for them is a system call.
constexpr uint32_t kPollsPerProgress = 64;
constexpr uint32_t kPollsPerProgressBusy = 8;  ///< while a connection comes up

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
  if (options.receive_entries != 0) return options.receive_entries;
  // The device rounds up to a power of two, less one.
  const auto most =
      static_cast<uint32_t>(device.limits.max_srq_wr) / ReceiveQueue::kGroup * ReceiveQueue::kGroup;
  return std::min(std::max(options.peers_max * kReceivesPerPeer, kReceiveEntriesMin), most);
}

class DcFabric final : public Fabric, private SideEvents {
 public:
  DcFabric(const VerbsOptions& options, Device device);
  ~DcFabric() override;
  [[nodiscard]] Outcome<void> open();

  [[nodiscard]] std::string_view name() const noexcept override { return "dc"; }
  [[nodiscard]] const FabricLimits& limits() const noexcept override { return limits_; }
  [[nodiscard]] std::string address() const override { return encode_address(side_->address()); }
  [[nodiscard]] Outcome<Memory> register_memory(std::byte* base, uint64_t bytes,
                                                Access access) override {
    return verbs::register_memory(device_, base, bytes, access, options_.relaxed_ordering);
  }
  void deregister(Memory& memory) override { verbs::deregister(device_, memory); }
  [[nodiscard]] Outcome<void> connect(PeerId peer, std::string_view address) override;
  void disconnect(PeerId peer) override;

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
  [[nodiscard]] int wait_fd() const noexcept override { return side_->wait_fd(); }
  [[nodiscard]] bool arm() noexcept override;

 private:
  using Kind = DcRequest::Kind;
  struct Peer {
    enum class State : uint8_t { free, connecting, up, lost } state = State::free;
    Slot slot = kNoSlot;
  };

  [[nodiscard]] Posted post(Kind kind, PeerId peer, const LocalPart& local,
                            const RemoteMemory& remote, uint32_t immediate,
                            uint64_t context) noexcept;
  [[nodiscard]] bool arrived(const ibv_wc& found, Completion& out) noexcept;
  void ended(const ibv_wc& found) noexcept;
  void progress() noexcept;
  void fail_all(std::string_view why) noexcept;

  // SideEvents
  [[nodiscard]] bool prepare(Slot slot, Offer& mine) noexcept override;
  [[nodiscard]] bool establish(Slot slot, const Offer& theirs) noexcept override;
  void up(PeerId peer, Slot slot) noexcept override;
  void lost(PeerId peer, int32_t error) noexcept override;
  void release(Slot slot, PeerId peer) noexcept override;

  const VerbsOptions options_;
  Device device_;
  const DcSizes sizes_;
  FabricLimits limits_;
  std::optional<CompletionQueue> completions_;
  std::optional<ReceiveQueue> receives_;
  Dct target_;
  std::vector<Owned<ibv_ah>> ways_;  ///< by slot
  std::optional<SideChannel> side_;
  std::optional<DcSender> sender_;
  std::vector<Peer> peers_;
  Pending pending_;  ///< completions that wait for the next poll
  uint32_t polls_to_progress_ = 1;
};

DcFabric::DcFabric(const VerbsOptions& options, Device device)
    : options_(options),
      device_(std::move(device)),
      sizes_(sizes_of(options, device_)),
      peers_(options.peers_max),
      pending_(sizes_.posts + options.peers_max * 2 + kCompletionsPerPoll) {
  limits_.peers_max = options.peers_max;
  limits_.posts_max = std::min(sizes_.posts_to_one, sizes_.posts);
  limits_.transfer_bytes_max =
      static_cast<uint32_t>(std::min<uint64_t>(device_.link.max_msg_sz, kTransferBytesMax));
}

DcFabric::~DcFabric() {
  for (PeerId peer = 0; side_ && peer < peers_.size(); ++peer)
    if (peers_[peer].state != Peer::State::free) side_->disconnect(peer, *this);
}

Outcome<void> DcFabric::open() {
  const uint32_t receive_entries = receives_of(options_, device_);
  // Every request of every initiator may end with an entry of its own, when it is flushed.
  auto completions =
      CompletionQueue::make(device_, receive_entries + sizes_.initiators * sizes_.depth);
  if (!completions) return Failure{completions.error};
  completions_.emplace(std::move(*completions));
  auto receives = ReceiveQueue::make(device_, receive_entries);
  if (!receives) return Failure{receives.error};
  receives_.emplace(std::move(*receives));
  limits_.receive_entries = receives_->guaranteed();
  auto target = Dct::make(device_, completions_->get(), receives_->get());
  if (!target) return Failure{target.error};
  target_ = std::move(*target);

  std::optional<IpAddress> ip;
  if (options_.address.empty() && device_.ethernet()) ip = ip_of_gid(device_.gid);
  if (!ip) {
    auto local = local_ip(options_.address);
    if (!local) return Failure{local.error};
    ip = *local;
  }
  auto side = SideChannel::open(verbs::Kind::dc, *ip, options_.peers_max);
  if (!side) return Failure{side.error};
  side_.emplace(std::move(*side));
  ways_.resize(side_->slots());
  sender_.emplace(device_, sizes_, side_->slots());
  if (auto opened = sender_->open(completions_->get()); !opened) return opened;
  if (const int error = make_nonblocking(device_.context->async_fd); error != 0)
    return failure(device_.name, "fcntl of the event descriptor", error);
  if (!side_->watch(completions_->wait_fd()) || !side_->watch(device_.context->async_fd))
    return failure(device_.name, "epoll", errno);
  return {};
}

Outcome<void> DcFabric::connect(PeerId peer, std::string_view address) {
  COPYKV_ASSERT(peer < peers_.size() && peers_[peer].state == Peer::State::free,
                "peer={} peers_max={}", peer, peers_.size());
  auto to = decode_address(address, verbs::Kind::dc);
  if (!to) return Failure{to.error};
  if (auto begun = side_->connect(peer, *to, *this); !begun) return begun;
  if (peers_[peer].state == Peer::State::free) peers_[peer] = {Peer::State::connecting, kNoSlot};
  polls_to_progress_ = 1;
  return {};
}

void DcFabric::disconnect(PeerId peer) {
  COPYKV_ASSERT(peers_[peer].state != Peer::State::free, "peer={}", peer);
  side_->disconnect(peer, *this);
  pending_.drop_peer_lost(peer);
  peers_[peer] = {};
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
  peers_[peer] = {Peer::State::up, slot};
  sender_->name_flow(slot, peer);
}

void DcFabric::lost(PeerId peer, int32_t error) noexcept {
  peers_[peer] = {Peer::State::lost, kNoSlot};
  pending_.push({Completion::Kind::peer_lost, error, peer, 0, 0});
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
    return to.state == Peer::State::connecting ? Posted::full : Posted::down;
  DcRequest request;
  request.kind = kind;
  request.local = local.memory->base + local.offset;
  request.local_key = local_key(*local.memory);
  request.bytes = local.bytes;
  request.remote = remote.address;
  request.immediate = immediate;
  if (!remote_key(remote, request.remote_key)) [[unlikely]] {
    copykv::log_info("dc: a key of peer {} is none of a verbs device", peer);
    side_->fail(to.slot, EACCES, *this);
    return Posted::down;
  }
  return sender_->post(to.slot, request, context) ? Posted::yes : Posted::full;
}

uint32_t DcFabric::poll(std::span<Completion> completions) noexcept {
  if (--polls_to_progress_ == 0) [[unlikely]]
    progress();
  uint32_t taken = pending_.take(completions);
  std::array<ibv_wc, kCompletionsPerPoll> found;
  const size_t room = std::min<size_t>(found.size(), completions.size() - taken);
  if (room == 0) return taken;
  const uint32_t count = completions_->poll(std::span(found).first(room));
  if (count == 0) return taken;
  for (uint32_t at = 0; at < count; ++at) {
    if (found[at].wr_id != kReceiveId)
      ended(found[at]);
    else if (arrived(found[at], completions[taken]))
      ++taken;
  }
  if (!receives_->replenish()) [[unlikely]]
    fail_all("the receive queue takes no entries");
  if (sender_->waits()) sender_->submit();
  return taken + pending_.take(completions.subspan(taken));
}

bool DcFabric::arrived(const ibv_wc& found, Completion& out) noexcept {
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

void DcFabric::progress() noexcept {
  (void)side_->progress(*this);
  AsyncEvent event;
  while (next_async_event(device_.context.get(), event)) {
    if (event.fatal)
      fail_all(event.words);
    else  // an initiator's failure is told by its completions, a refused access by the peer's
      copykv::log_info("dc: {}: {}", device_.name, event.words);
  }
  polls_to_progress_ = side_->busy() ? kPollsPerProgressBusy : kPollsPerProgress;
}

bool DcFabric::arm() noexcept {
  if (!pending_.empty()) return false;
  progress();
  completions_->arm();
  // What came before wakes nobody: it is taken now, for the next poll.
  std::array<ibv_wc, kCompletionsPerPoll> found;
  const uint32_t count = completions_->poll(found);
  for (uint32_t at = 0; at < count; ++at) {
    Completion out;
    if (found[at].wr_id != kReceiveId)
      ended(found[at]);
    else if (arrived(found[at], out))
      pending_.push(out);
  }
  submit();
  return count == 0 && pending_.empty() && !side_->busy();
}

}  // namespace

Outcome<std::unique_ptr<Fabric>> make_dc_fabric(const VerbsOptions& options) {
  if (const std::string reason = dc_missing(options); !reason.empty())
    return Failure{"dc: " + reason};
  auto device = open_device(options);
  if (!device) return Failure{"dc: " + device.error};
  auto fabric = std::make_unique<DcFabric>(options, std::move(*device));
  if (auto opened = fabric->open(); !opened) return Failure{"dc: " + opened.error};
  return std::unique_ptr<Fabric>(std::move(fabric));
}

std::string dc_missing(const VerbsOptions& options) {
  auto device = open_device(options);
  if (!device) return device.error;
  if (!mlx5dv_is_supported(device->context->device))
    return fmt::format("{} has no DC: it is not of mlx5 (ConnectX-4 or later)", device->name);
  return {};
}

}  // namespace copyrpc
