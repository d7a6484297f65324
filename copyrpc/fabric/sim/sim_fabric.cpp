// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/sim/sim_fabric.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>

#include "base/assert.hpp"
#include "copyrpc/fabric/sim/sim_endpoint.hpp"

namespace copyrpc {
SimNetwork::SimNetwork(const SimOptions& options, const copykv::Clock& clock)
    : options_(options), clock_(clock), random_(options.seed) {}

SimNetwork::~SimNetwork() {
  for (const SimEndpoint* endpoint : endpoints_) {
    COPYKV_ASSERT(endpoint == nullptr, "an endpoint outlives its network");
  }
}

std::unique_ptr<Fabric> SimNetwork::attach() {
  auto endpoint =
      std::make_unique<SimEndpoint>(*this, static_cast<uint32_t>(endpoints_.size()), options_);
  endpoints_.push_back(endpoint.get());
  return endpoint;
}

void SimNetwork::cut(uint32_t a, uint32_t b) {
  cuts_.insert({std::min(a, b), std::max(a, b)});
}

void SimNetwork::heal(uint32_t a, uint32_t b) {
  cuts_.erase({std::min(a, b), std::max(a, b)});
  for (const Pair& pair : {Pair{a, b}, Pair{b, a}}) {
    for (const uint64_t number : held_[pair]) {
      posts_.at(number).held = false;
      schedule(number, clock_.now_ns() + options_.latency_ns);
    }
    if (!held_[pair].empty()) last_delivery_ns_[pair] = clock_.now_ns() + options_.latency_ns;
    held_[pair].clear();
  }
}

void SimNetwork::break_next_post(uint32_t endpoint) {
  breaking_.insert(endpoint);
}

void SimNetwork::schedule(uint64_t post, uint64_t at_ns) {
  posts_.at(post).due_order = order_;
  due_.push({at_ns, order_++, post});
}

void SimNetwork::start(Post post) {
  ++counters_.posts;
  counters_.bytes += post.bytes;
  post.posted_ns = clock_.now_ns();
  if (breaking_.erase(post.from) > 0) {
    post.error = EIO;
    broken_links_.insert(post.link);
  }
  const uint64_t jitter = options_.jitter_ns > 0 ? random_.below(options_.jitter_ns) : 0;
  uint64_t at_ns =
      post.posted_ns + options_.latency_ns + jitter + post.bytes * options_.picos_per_byte / 1'000;
  uint64_t& last_ns = last_delivery_ns_[{post.from, post.to}];
  last_ns = at_ns = std::max(at_ns, last_ns);
  const uint64_t number = next_number_++;
  posts_.emplace(number, post);
  schedule(number, at_ns);
}

void SimNetwork::let_go(uint64_t link) {
  for (auto& [number, post] : posts_) {
    if (post.link != link || post.delivered || post.op == Op::read) continue;
    post.on_the_wire.assign(reinterpret_cast<const char*>(post.local), post.bytes);
  }
}

void SimNetwork::run() {
  const uint64_t now_ns = clock_.now_ns();
  while (!due_.empty() && due_.top().at_ns <= now_ns) {
    const auto [at_ns, order, number] = due_.top();
    due_.pop();
    const auto found = posts_.find(number);
    if (found == posts_.end() || found->second.due_order != order) continue;  // put off since
    Post& post = found->second;
    if (!post.delivered && post.error == 0) {
      deliver(number, post);
    } else {
      complete(post);
      posts_.erase(number);
    }
  }
}

uint64_t SimNetwork::next_due_ns() const {
  return due_.empty() ? UINT64_MAX : due_.top().at_ns;
}

void SimNetwork::deliver(uint64_t number, Post& post) {
  const uint64_t now_ns = clock_.now_ns();
  auto& held = held_[{post.from, post.to}];
  if (broken_links_.contains(post.link)) {
    std::erase(held, number);
    post.error = ECANCELED;
    schedule(number, now_ns);
    return;
  }
  if (post.held) {  // for as long as the sender tries
    std::erase(held, number);
    post.error = ETIMEDOUT;
    broken_links_.insert(post.link);
    schedule(number, now_ns);
    return;
  }
  if (is_cut(post.from, post.to)) {
    post.held = true;
    held.push_back(number);
    schedule(number, post.posted_ns + options_.cut_timeout_ns);
    return;
  }
  post.error = carry_out(post);
  post.delivered = true;
  if (post.error != 0) broken_links_.insert(post.link);
  schedule(number, now_ns + options_.done_delay_ns);
}

/// What the post does at the other side; an errno value when it does nothing.
int SimNetwork::carry_out(const Post& post) {
  SimEndpoint* target = endpoints_[post.to];
  if (target == nullptr) return ECONNRESET;
  const auto found = regions_.find(post.remote.key);
  if (found == regions_.end()) {
    ++counters_.refused;
    return EACCES;
  }
  const Region& region = found->second;
  const auto base = reinterpret_cast<uint64_t>(region.base);
  const bool inside = region.endpoint == post.to && post.remote.address >= base &&
                      post.remote.address - base <= region.bytes &&
                      post.bytes <= region.bytes - (post.remote.address - base);
  const bool allowed = region.access == Access::remote_read_write ||
                       (region.access == Access::remote_write && post.op != Op::read);
  if (!inside || !allowed) {
    ++counters_.refused;
    return EACCES;
  }
  std::byte* remote = region.base + (post.remote.address - base);
  if (post.op == Op::write_immediate && target->unpolled() >= options_.receive_entries) {
    ++counters_.not_ready;
    return ENOBUFS;
  }
  if (post.op == Op::read) {
    if (endpoints_[post.from] != nullptr && endpoints_[post.from]->is_linked(post.link)) {
      std::memcpy(post.local, remote, post.bytes);
    }
    return 0;
  }
  const void* from =
      post.on_the_wire.empty() ? post.local : static_cast<const void*>(post.on_the_wire.data());
  std::memcpy(remote, from, post.bytes);
  if (post.op == Op::write_immediate) target->arrive(post.immediate);
  return 0;
}

void SimNetwork::complete(const Post& post) {
  if (SimEndpoint* sender = endpoints_[post.from]; sender != nullptr) {
    sender->end_post(post.link, post.peer, post.context, post.error);
  }
}

}  // namespace copyrpc
