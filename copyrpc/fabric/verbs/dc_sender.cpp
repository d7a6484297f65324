// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/dc_sender.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/assert.hpp"
#include "base/log.hpp"
#include "copyrpc/fabric/verbs/errors.hpp"

namespace copyrpc::verbs {

using copykv::Failure;
using copykv::Outcome;

DcSender::DcSender(const Device& device, const DcSizes& sizes, uint32_t slots)
    : device_(device),
      sizes_(sizes),
      initiators_(sizes.initiators),
      flows_(slots),
      posts_(sizes.posts) {
  for (uint32_t at = 0; at < sizes.posts; ++at) push_back(free_, posts_, at);
  touched_.reserve(sizes.initiators);
}

Outcome<void> DcSender::open(ibv_cq* completions) {
  for (Initiator& initiator : initiators_) {
    auto made = Dci::make(device_, completions, {sizes_.depth, sizes_.inline_bytes});
    if (!made) return Failure{made.error};
    initiator.queue = std::move(*made);
    initiator.ring.resize(std::bit_ceil(sizes_.depth), kNone);
    initiator.usable = true;
  }
  return {};
}

template <class T>
void DcSender::push_back(Chain& chain, std::vector<T>& all, uint32_t index) noexcept {
  all[index].next = kNone;
  if (chain.first == kNone)
    chain.first = index;
  else
    all[chain.last].next = index;
  chain.last = index;
}

template <class T>
void DcSender::push_front(Chain& chain, std::vector<T>& all, uint32_t index) noexcept {
  all[index].next = chain.first;
  if (chain.first == kNone) chain.last = index;
  chain.first = index;
}

template <class T>
uint32_t DcSender::pop(Chain& chain, std::vector<T>& all) noexcept {
  const uint32_t index = chain.first;
  if (index != kNone) chain.first = all[index].next;
  return index;
}

void DcSender::open_flow(Slot slot, const DcWay& way) noexcept {
  Flow& flow = flows_[slot];
  COPYKV_ASSERT(!flow.open && flow.waiting.first == kNone, "slot={}", slot);
  flow.way = way;
  flow.peer = kNoPeer;
  flow.open = true;
}

void DcSender::close_flow(Slot slot, Pending& ended) noexcept {
  Flow& flow = flows_[slot];
  if (!flow.open) return;
  for (uint32_t at = pop(flow.waiting, posts_); at != kNone; at = pop(flow.waiting, posts_))
    end_post(at, ECANCELED, ended);
  ++flow.life;  // what is in flight belongs to nobody now, but to the one who posted it
  flow.open = flow.failed = false;
  flow.posts = flow.in_flight = 0;
  flow.way = {};
}

inline void DcSender::make_ready(Slot slot, Flow& flow) noexcept {
  if (flow.ready) return;
  flow.ready = true;
  push_back(ready_, flows_, slot);
}

bool DcSender::post(Slot slot, const Request& request, uint64_t context) noexcept {
  Flow& flow = flows_[slot];
  if (flow.posts == sizes_.posts_to_one) return false;
  const uint32_t index = pop(free_, posts_);
  if (index == kNone) [[unlikely]]
    return false;
  Post& post = posts_[index];
  post.request = request;
  post.context = context;
  post.peer = flow.peer;
  post.slot = slot;
  post.life = flow.life;
  push_back(flow.waiting, posts_, index);
  ++flow.posts;
  make_ready(slot, flow);
  return true;
}

/// The one with the least in flight; kNone: all are out of use.
uint32_t DcSender::choose() const noexcept {
  uint32_t best = kNone;
  for (uint32_t at = 0; at < initiators_.size(); ++at) {
    if (!initiators_[at].usable) continue;
    if (best == kNone || initiators_[at].in_flight() < initiators_[best].in_flight()) best = at;
  }
  return best;
}

/// One share of the flow's posts. False: there was no room.
bool DcSender::fill_from(Slot slot) noexcept {
  Flow& flow = flows_[slot];
  const Initiator& last = initiators_[flow.initiator];
  if (flow.in_flight == 0 && (last.in_flight() != 0 || !last.usable)) [[unlikely]] {
    const uint32_t chosen = choose();
    if (chosen == kNone) [[unlikely]]
      return false;
    flow.initiator = chosen;
  }
  Initiator& to = initiators_[flow.initiator];
  const uint32_t mask = static_cast<uint32_t>(to.ring.size()) - 1;
  const uint32_t share_max = std::min(sizes_.quota, sizes_.depth - to.in_flight());
  uint32_t moved = 0;
  for (; moved < share_max && flow.waiting.first != kNone; ++moved)
    to.ring[(to.filled + moved) & mask] = pop(flow.waiting, posts_);
  to.filled += moved;
  flow.in_flight += moved;
  if (moved > 0 && !to.touched) {
    to.touched = true;
    touched_.push_back(flow.initiator);
  }
  return moved > 0;
}

void DcSender::submit() noexcept {
  // Each round gives every ready flow one share; those that find no room stay for later.
  uint32_t stuck = 0;
  Chain blocked{};
  for (uint32_t slot = pop(ready_, flows_); slot != kNone; slot = pop(ready_, flows_)) {
    Flow& flow = flows_[slot];
    flow.ready = false;
    if (flow.waiting.first == kNone) continue;  // closed in the meantime
    const bool moved = fill_from(slot);
    if (flow.waiting.first == kNone) continue;
    flow.ready = true;
    if (moved) {
      push_back(ready_, flows_, slot);
    } else {
      push_back(blocked, flows_, slot);
      ++stuck;
    }
  }
  if (stuck > 0) ready_ = blocked;
  for (const uint32_t index : touched_) ring(index);
  touched_.clear();
}

void DcSender::ring(uint32_t index) noexcept {
  Initiator& to = initiators_[index];
  to.touched = false;
  const uint32_t mask = static_cast<uint32_t>(to.ring.size()) - 1;
  const uint64_t id = uint64_t{index} << 48 | uint64_t{to.life} << 32;
  to.queue.begin();
  for (uint32_t at = to.posted; at != to.filled; ++at) {
    const Post& post = posts_[to.ring[at & mask]];
    to.queue.add(post.request, flows_[post.slot].way, id | at, at + 1 == to.filled);
  }
  const int error = to.queue.end();
  // The send queue has room for all that the ring has, and the requests are within its limits.
  COPYKV_ASSERT(error == 0, "errno={} in_flight={} depth={}", error, to.in_flight(), sizes_.depth);
  to.posted = to.filled;
}

void DcSender::end_post(uint32_t index, int32_t error, Pending& ended) noexcept {
  Post& post = posts_[index];
  if (error != 0 || post.context != kUnsignalled)
    ended.push({error == 0 ? Completion::Kind::done : Completion::Kind::failed, error, post.peer, 0,
                post.context});
  if (Flow& flow = flows_[post.slot]; post.life == flow.life) --flow.posts;
  push_front(free_, posts_, index);
}

void DcSender::end_through(Initiator& initiator, uint32_t position, Pending& ended) noexcept {
  const uint32_t mask = static_cast<uint32_t>(initiator.ring.size()) - 1;
  for (; initiator.ended != position; ++initiator.ended) {
    const uint32_t index = initiator.ring[initiator.ended & mask];
    const Post& post = posts_[index];
    if (Flow& flow = flows_[post.slot]; post.life == flow.life) --flow.in_flight;
    end_post(index, 0, ended);
  }
}

Slot DcSender::completed(const ibv_wc& found, Pending& ended, int32_t& error) noexcept {
  const auto index = static_cast<uint32_t>(found.wr_id >> 48);
  Initiator& initiator = initiators_[index];
  if (initiator.life != static_cast<uint16_t>(found.wr_id >> 32)) return kNoSlot;
  const auto position = static_cast<uint32_t>(found.wr_id);
  if (position - initiator.ended >= initiator.posted - initiator.ended) return kNoSlot;
  if (found.status == IBV_WC_SUCCESS) [[likely]] {
    end_through(initiator, position + 1, ended);
    return kNoSlot;
  }
  error = status_errno(found.status);
  copykv::log_info(
      "dc: a post to peer {} has failed: {}",
      static_cast<int32_t>(posts_[initiator.ring[position & (initiator.ring.size() - 1)]].peer),
      status_words(found.status));
  return break_up(index, position, found.status, ended);
}

Slot DcSender::break_up(uint32_t index, uint32_t position, ibv_wc_status status,
                        Pending& ended) noexcept {
  Initiator& broken = initiators_[index];
  const uint32_t mask = static_cast<uint32_t>(broken.ring.size()) - 1;
  const bool named = status != IBV_WC_WR_FLUSH_ERR;
  if (named) end_through(broken, position, ended);
  const uint32_t first = broken.ring[broken.ended & mask];
  const Slot culprit = posts_[first].slot;
  const uint32_t culprit_life = posts_[first].life;
  // From the youngest to the oldest: each goes to the head of its flow.
  for (uint32_t at = broken.filled; at != broken.ended; --at) {
    const uint32_t post_index = broken.ring[(at - 1) & mask];
    const Post& post = posts_[post_index];
    Flow& flow = flows_[post.slot];
    const bool current = post.life == flow.life;
    if (current) --flow.in_flight;
    const bool of_culprit = post.slot == culprit && post.life == culprit_life;
    if (named && !of_culprit && current) {
      take_back(post_index);
      continue;
    }
    if (!named && current && !flow.failed) {
      flow.failed = true;
      ++failed_flows_;
    }
    end_post(post_index, post_index == first && named ? status_errno(status) : ECANCELED, ended);
  }
  broken.ended = broken.posted = broken.filled;
  recover(index);
  if (!named) return next_failed();
  return flows_[culprit].life == culprit_life ? culprit : kNoSlot;
}

void DcSender::take_back(uint32_t index) noexcept {
  const Slot slot = posts_[index].slot;
  push_front(flows_[slot].waiting, posts_, index);
  make_ready(slot, flows_[slot]);
  ++counters_.sent_again;
}

void DcSender::recover(uint32_t index) noexcept {
  Initiator& broken = initiators_[index];
  ++broken.life;
  ++counters_.recoveries;
  const int error = broken.queue.recover(device_);
  broken.usable = error == 0;
  if (error != 0)
    copykv::log_error("{}; {} initiators are left",
                      failure(device_.name, "ibv_modify_qp of a failed DC initiator", error).line,
                      std::count_if(initiators_.begin(), initiators_.end(),
                                    [](const Initiator& one) { return one.usable; }));
}

Slot DcSender::next_failed() noexcept {
  if (failed_flows_ == 0) return kNoSlot;
  for (Slot slot = 0; slot < flows_.size(); ++slot) {
    if (!flows_[slot].failed) continue;
    flows_[slot].failed = false;
    --failed_flows_;
    return slot;
  }
  failed_flows_ = 0;
  return kNoSlot;
}

}  // namespace copyrpc::verbs
