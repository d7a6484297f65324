// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/side_channel.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/assert.hpp"
#include "base/clock.hpp"

namespace copyrpc::verbs {

using copykv::Failure;
using copykv::Outcome;

namespace {

constexpr uint32_t kStrangersMax = 16;
constexpr uint32_t kEventsPerProgress = 64;
constexpr uint32_t kCallersPerProgress = 16;
constexpr uint64_t kStrangerPatienceNs = 5 * copykv::kNanosPerSecond;
// Of connections that are being made. Long: neither side may be polled while its process starts up.
constexpr uint64_t kPatienceNs = 30 * copykv::kNanosPerSecond;
// What epoll names besides slots.
constexpr uint32_t kListenerNumber = ~0U;
constexpr uint32_t kWatchedNumber = ~0U - 1;

uint64_t now_ns() noexcept {
  return copykv::SystemClock().now_ns();
}

}  // namespace

Outcome<SideChannel> SideChannel::open(Kind kind, const IpAddress& ip, uint32_t peers_max) {
  SideChannel made;
  made.kind_ = kind;
  made.ip_ = ip;
  auto listener = listen_at(ip);
  if (!listener) return Failure{listener.error};
  made.listener_ = std::move(*listener);
  made.epoll_ = copykv::Fd(epoll_create1(EPOLL_CLOEXEC));
  if (!made.epoll_ || !made.watch(made.listener_.fd.get(), EPOLLIN, kListenerNumber))
    return Failure{fmt::format("epoll: {}", std::strerror(errno))};
  // A connection that is called anew may stand beside the old one for a moment.
  made.links_.resize(size_t{peers_max} * 2 + kStrangersMax);
  made.slot_of_.assign(peers_max, kNoSlot);
  return made;
}

Outcome<void> SideChannel::connect(PeerId peer, const EndpointAddress& to, SideEvents& events) {
  COPYKV_ASSERT(slot_of_[peer] == kNoSlot, "peer={}", peer);
  const Slot there = slot_with(to.identity, kNoSlot);
  if (there != kNoSlot && links_[there].peer == kNoPeer) {
    links_[there].peer = peer;
    slot_of_[peer] = there;
    if (links_[there].state == State::up) set_state(links_[there], State::adopted);
    return {};
  }
  const Slot slot = free_slot();
  if (slot == kNoSlot) return Failure{"every connection of this endpoint is in use"};
  links_[slot].peer = peer;
  links_[slot].remote = to.identity;
  if (auto begun = call(slot, to, events); !begun) {
    clear(slot, events);
    return begun;
  }
  slot_of_[peer] = slot;
  return {};
}

Outcome<void> SideChannel::call(Slot slot, const EndpointAddress& to, SideEvents& events) {
  Link& link = links_[slot];
  if (!prepare(slot, events))
    return Failure{"no queue pair can be had: the device or its limits are exhausted"};
  auto fd = begin_connect(ip_, to.ip, to.port);
  if (!fd) return Failure{fd.error};
  link.fd = std::move(*fd);
  if (!watch(link.fd.get(), EPOLLOUT, slot))
    return Failure{fmt::format("epoll: {}", std::strerror(errno))};
  ++calls_;
  set_state(link, State::calling);
  return {};
}

void SideChannel::disconnect(PeerId peer, SideEvents& events) noexcept {
  const Slot slot = slot_of_[peer];
  COPYKV_ASSERT(slot != kNoSlot, "peer={}", peer);
  clear(slot, events);
  slot_of_[peer] = kNoSlot;
}

void SideChannel::fail(Slot slot, int32_t error, SideEvents& events) noexcept {
  Link& link = links_[slot];
  if (link.state == State::free || link.state == State::lost) return;
  if (link.peer == kNoPeer) return clear(slot, events);
  const PeerId peer = link.peer;
  close(slot, events);
  set_state(link, State::lost);
  events.lost(peer, error);
}

bool SideChannel::progress(SideEvents& events) noexcept {
  std::array<epoll_event, kEventsPerProgress> found;
  const int count = epoll_wait(epoll_.get(), found.data(), static_cast<int>(found.size()), 0);
  bool something = false;
  for (int at = 0; at < count; ++at) {
    const epoll_event& one = found[static_cast<size_t>(at)];
    if (one.data.u32 == kWatchedNumber) continue;
    something = true;
    if (one.data.u32 == kListenerNumber) {
      accept_callers();
      continue;
    }
    const Slot slot = one.data.u32;
    if (links_[slot].state == State::calling && (one.events & EPOLLOUT) != 0)
      writable(slot, events);
    else if (links_[slot].fd)
      readable(slot, events);
  }
  if (coming_up_ > 0) look_at_deadlines(events);
  return something;
}

void SideChannel::accept_callers() noexcept {
  for (uint32_t taken = 0; taken < kCallersPerProgress; ++taken) {
    copykv::Fd fd = accept_one(listener_.fd.get());
    if (!fd) return;
    const Slot slot = free_slot();
    if (slot == kNoSlot || !watch(fd.get(), EPOLLIN, slot)) continue;  // hangs up
    links_[slot].fd = std::move(fd);
    set_state(links_[slot], State::greeting);
  }
}

void SideChannel::writable(Slot slot, SideEvents& events) noexcept {
  Link& link = links_[slot];
  if (const int error = connect_error(link.fd.get()); error != 0) return fail(slot, error, events);
  epoll_event wanted{};
  wanted.events = EPOLLIN;
  wanted.data.u32 = slot;
  (void)epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, link.fd.get(), &wanted);
  if (!say(link, Greeting::Type::call)) fail(slot, ECONNRESET, events);
}

void SideChannel::readable(Slot slot, SideEvents& events) noexcept {
  Link& link = links_[slot];
  const ssize_t got =
      ::recv(link.fd.get(), reinterpret_cast<char*>(&link.incoming) + link.incoming_bytes,
             sizeof(Greeting) - link.incoming_bytes, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return fail(slot, got == 0 ? ECONNRESET : errno, events);
  link.incoming_bytes += static_cast<uint32_t>(got);
  if (link.incoming_bytes < sizeof(Greeting)) return;
  link.incoming_bytes = 0;
  heard(slot, events);
}

void SideChannel::look_at_deadlines(SideEvents& events) noexcept {
  const uint64_t now = now_ns();
  for (Slot slot = 0; slot < links_.size(); ++slot) {
    if (links_[slot].state == State::adopted) come_up(slot, events);
    if (links_[slot].deadline_ns != 0 && now > links_[slot].deadline_ns)
      fail(slot, ETIMEDOUT, events);
  }
}

void SideChannel::come_up(Slot slot, SideEvents& events) noexcept {
  set_state(links_[slot], State::up);
  if (links_[slot].peer != kNoPeer) events.up(links_[slot].peer, slot);
}

bool SideChannel::say(Link& link, Greeting::Type type, Greeting::Reason reason) noexcept {
  Greeting greeting;
  greeting.kind = kind_;
  greeting.type = type;
  greeting.reason = reason;
  greeting.from = self_;
  greeting.to = link.remote;
  greeting.call = calls_;
  greeting.offer = link.mine;
  // The first bytes on a new connection always have room.
  return ::send(link.fd.get(), &greeting, sizeof(greeting), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(sizeof(greeting));
}

bool SideChannel::prepare(Slot slot, SideEvents& events) noexcept {
  Link& link = links_[slot];
  link.prepared = events.prepare(slot, link.mine);
  return link.prepared;
}

/// Hangs up and ends its queue pair; what is known of the peer stays.
void SideChannel::close(Slot slot, SideEvents& events) noexcept {
  Link& link = links_[slot];
  link.fd.reset();  // which takes it off the epoll set
  if (link.prepared) events.release(slot, link.peer);
  link.prepared = false;
  link.incoming_bytes = 0;
}

void SideChannel::clear(Slot slot, SideEvents& events) noexcept {
  close(slot, events);
  set_state(links_[slot], State::free);
  links_[slot] = {};
}

void SideChannel::set_state(Link& link, State state) noexcept {
  const bool waits = state == State::greeting || state == State::calling ||
                     state == State::expecting || state == State::accepted ||
                     state == State::adopted;
  coming_up_ -= link.deadline_ns != 0;
  coming_up_ += waits;
  const uint64_t patience_ns = state == State::greeting ? kStrangerPatienceNs : kPatienceNs;
  link.deadline_ns = waits ? now_ns() + patience_ns : 0;
  link.state = state;
}

/// When there is none, the stranger who has been silent for the longest goes.
Slot SideChannel::free_slot() noexcept {
  Slot oldest = kNoSlot;
  for (Slot slot = 0; slot < links_.size(); ++slot) {
    const Link& link = links_[slot];
    if (link.state == State::free) return slot;
    if (link.state == State::greeting &&
        (oldest == kNoSlot || link.deadline_ns < links_[oldest].deadline_ns))
      oldest = slot;
  }
  if (oldest != kNoSlot) {
    set_state(links_[oldest], State::free);
    links_[oldest] = {};
  }
  return oldest;
}

/// The live connection to that endpoint.
Slot SideChannel::slot_with(const Identity& remote, Slot except) const noexcept {
  for (Slot slot = 0; slot < links_.size(); ++slot) {
    const Link& link = links_[slot];
    if (slot == except || link.state == State::free || link.state == State::lost ||
        link.state == State::greeting)
      continue;
    if (link.remote == remote) return slot;
  }
  return kNoSlot;
}

bool SideChannel::watch(int fd) noexcept {
  return watch(fd, EPOLLIN, kWatchedNumber);
}

bool SideChannel::watch(int fd, uint32_t what, uint32_t number) noexcept {
  epoll_event wanted{};
  wanted.events = what;
  wanted.data.u32 = number;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &wanted) == 0;
}

}  // namespace copyrpc::verbs
