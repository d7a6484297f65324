// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/endpoint.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/assert.hpp"
#include "base/log.hpp"
#include "copyrpc/fabric/verbs/address.hpp"
#include "copyrpc/fabric/verbs/errors.hpp"
#include "copyrpc/fabric/verbs/gid.hpp"

namespace copyrpc::verbs {

using copykv::Failure;
using copykv::Outcome;

namespace {

// Connection events are rare, and asking for them is a system call.
constexpr uint32_t kPollsPerLook = 64;
constexpr uint32_t kPollsPerLookBusy = 8;  ///< while a connection comes up

constexpr uint32_t kReceiveEntriesMin = 4096;
constexpr uint32_t kReceivesPerPeer = 64;

}  // namespace

uint32_t receive_entries(const VerbsOptions& options, uint32_t most) noexcept {
  if (options.receive_entries != 0) return options.receive_entries;
  return std::min(std::max(options.peers_max * kReceivesPerPeer, kReceiveEntriesMin), most);
}

Outcome<ProbeQueues> ProbeQueues::make(const Device& device) {
  auto completions = CompletionQueue::make(device, 2 * kEntries);
  if (!completions) return Failure{completions.error};
  auto receives = ReceiveQueue::make(device, kEntries);
  if (!receives) return Failure{receives.error};
  return ProbeQueues{std::move(*completions), std::move(*receives)};
}

Endpoint::Endpoint(Kind kind, const VerbsOptions& options, Device device)
    : kind_(kind),
      options_(options),
      device_(std::move(device)),
      peers_(options.peers_max),
      pending_(0) {
  limits_.peers_max = options.peers_max;
}

void Endpoint::size_for(uint32_t posts_in_total) {
  pending_ = Pending(posts_in_total + options_.peers_max * 2 + kCompletionsPerPoll);
}

Outcome<void> Endpoint::open_queues(uint32_t receives, uint32_t sends) {
  auto completions = CompletionQueue::make(device_, receives + sends);
  if (!completions) return Failure{completions.error};
  completions_.emplace(std::move(*completions));
  auto queue = ReceiveQueue::make(device_, receives);
  if (!queue) return Failure{queue.error};
  receives_.emplace(std::move(*queue));
  limits_.receive_entries = receives_->guaranteed();
  return {};
}

Outcome<void> Endpoint::open_side() {
  std::optional<IpAddress> ip;
  if (options_.address.empty() && device_.ethernet()) ip = ip_of_gid(device_.gid);
  if (!ip) {
    auto local = local_ip(options_.address);
    if (!local) return Failure{local.error};
    ip = *local;
  }
  auto side = SideChannel::open(kind_, *ip, options_.peers_max);
  if (!side) return Failure{side.error};
  side_.emplace(std::move(*side));
  if (const int error = make_nonblocking(device_.context->async_fd); error != 0)
    return failure(device_.name, "fcntl of the event descriptor", error);
  if (!side_->watch(completions_->wait_fd()) || !side_->watch(device_.context->async_fd))
    return failure(device_.name, "epoll", errno);
  return {};
}

void Endpoint::disconnect_all() {
  for (PeerId peer = 0; side_ && peer < peers_.size(); ++peer)
    if (peers_[peer].state != Peer::State::free) side_->disconnect(peer, *this);
}

Outcome<void> Endpoint::connect(PeerId peer, std::string_view address) {
  COPYKV_ASSERT(peer < peers_.size() && peers_[peer].state == Peer::State::free,
                "peer={} peers_max={}", peer, peers_.size());
  auto to = decode_address(address, kind_);
  if (!to) return Failure{to.error};
  if (auto begun = side_->connect(peer, *to, *this); !begun) return begun;
  peers_[peer] = {Peer::State::connecting, kNoSlot};
  polls_to_look_ = 1;
  return {};
}

void Endpoint::disconnect(PeerId peer) {
  COPYKV_ASSERT(peers_[peer].state != Peer::State::free, "peer={}", peer);
  side_->disconnect(peer, *this);
  pending_.drop_peer_lost(peer);
  peers_[peer] = {};
}

void Endpoint::lost(PeerId peer, int32_t error) noexcept {
  copykv::log_info("{}: peer {} is lost: {}", name(), peer, std::strerror(error));
  peers_[peer] = {Peer::State::lost, kNoSlot};
  pending_.push({Completion::Kind::peer_lost, error, peer, 0, 0});
}

void Endpoint::progress() noexcept {
  (void)side_->progress(*this);
  AsyncEvent event;
  while (next_async_event(device_.context.get(), event)) on_event(event);
  polls_to_look_ = side_->busy() ? kPollsPerLookBusy : kPollsPerLook;
}

bool Endpoint::arm() noexcept {
  if (!pending_.empty()) return false;
  progress();
  completions_->arm();
  // What came before wakes nobody: it is taken now, for the next poll.
  std::array<ibv_wc, kCompletionsPerPoll> found;
  const uint32_t count = completions_->poll(found);
  for (uint32_t at = 0; at < count; ++at)
    if (Completion out; take(found[at], out)) pending_.push(out);
  submit();
  return count == 0 && pending_.empty() && !side_->busy();
}

}  // namespace copyrpc::verbs
