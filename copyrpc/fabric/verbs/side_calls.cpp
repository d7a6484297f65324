// SPDX-License-Identifier: Apache-2.0
// The side channel's conversation: who is let in, and which of two calls counts.
#include <cerrno>

#include "copyrpc/fabric/verbs/side_channel.hpp"

namespace copyrpc::verbs {

/// A whole message has come in.
void SideChannel::heard(Slot slot, SideEvents& events) noexcept {
  Link& link = links_[slot];
  const Greeting& said = link.incoming;
  if (!said.is_for(self_, kind_)) return fail(slot, EPROTO, events);
  if (link.state == State::greeting)
    return said.type == Greeting::Type::call ? called(slot, events) : clear(slot, events);
  if (said.from != link.remote) return fail(slot, EPROTO, events);
  if (link.state == State::calling && said.type == Greeting::Type::answer)
    return answered(slot, events);
  if (link.state == State::calling && said.type == Greeting::Type::refusal)
    return refused(slot, events);
  if (link.state == State::accepted && said.type == Greeting::Type::ready)
    return come_up(slot, events);
  fail(slot, EPROTO, events);
}

void SideChannel::called(Slot slot, SideEvents& events) noexcept {
  Link& link = links_[slot];
  link.remote = link.incoming.from;
  const Slot other = link.remote == self_ ? kNoSlot : slot_with(link.remote, slot);
  if (other == kNoSlot) return accept(slot, kNoPeer, events);
  Link& before = links_[other];
  if (before.state == State::calling || before.state == State::expecting) {
    if (before.state == State::calling && self_ < link.remote)
      return refuse(slot, Greeting::Reason::crossed, events);
    const PeerId peer = before.peer;
    clear(other, events);
    return accept(slot, peer, events);
  }
  if (link.incoming.call <= before.remote_call)
    return refuse(slot, Greeting::Reason::crossed, events);
  fail(other, ECONNRESET, events);  // the peer has started over
  accept(slot, kNoPeer, events);
}

/// `peer`: whose own call to that endpoint this one replaces.
void SideChannel::accept(Slot slot, PeerId peer, SideEvents& events) noexcept {
  Link& link = links_[slot];
  link.peer = peer;
  link.remote_call = link.incoming.call;
  if (peer != kNoPeer) slot_of_[peer] = slot;
  if (!prepare(slot, events)) return refuse(slot, Greeting::Reason::no_room, events);
  if (!events.establish(slot, link.incoming.offer))
    return refuse(slot, Greeting::Reason::no_way, events);
  if (!say(link, Greeting::Type::answer)) return fail(slot, ECONNRESET, events);
  set_state(link, State::accepted);
}

void SideChannel::refuse(Slot slot, Greeting::Reason reason, SideEvents& events) noexcept {
  (void)say(links_[slot], Greeting::Type::refusal, reason);
  fail(slot, ECONNREFUSED, events);
}

void SideChannel::answered(Slot slot, SideEvents& events) noexcept {
  Link& link = links_[slot];
  link.remote_call = link.incoming.call;
  if (!events.establish(slot, link.incoming.offer)) return fail(slot, ENETUNREACH, events);
  if (!say(link, Greeting::Type::ready)) return fail(slot, ECONNRESET, events);
  come_up(slot, events);
}

void SideChannel::refused(Slot slot, SideEvents& events) noexcept {
  Link& link = links_[slot];
  switch (link.incoming.reason) {
    case Greeting::Reason::crossed:
      close(slot, events);
      return set_state(link, State::expecting);
    case Greeting::Reason::no_room:
      return fail(slot, ENOBUFS, events);
    case Greeting::Reason::no_way:
      return fail(slot, ENETUNREACH, events);
    case Greeting::Reason::none:
      break;
  }
  fail(slot, ECONNREFUSED, events);
}

}  // namespace copyrpc::verbs
