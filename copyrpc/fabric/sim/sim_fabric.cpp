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
namespace {

constexpr uint32_t kNotReadyRetries = 7;
constexpr uint64_t kNotReadyRetryNs = 20'000;

}  // namespace

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
  ports_.emplace_back().queues.resize(std::max(options_.send_queues, 1U));
  return endpoint;
}

void SimNetwork::cut(uint32_t a, uint32_t b) {
  cuts_.insert({std::min(a, b), std::max(a, b)});
}

void SimNetwork::heal(uint32_t a, uint32_t b) {
  cuts_.erase({std::min(a, b), std::max(a, b)});
  const uint64_t again_ns = clock_.now_ns() + options_.latency_ns;
  for (const Pair& pair : {Pair{a, b}, Pair{b, a}}) {
    if (held_[pair].empty()) continue;
    held_[pair].clear();
    // What was held goes on, and what is on the wire already stays behind it.
    uint64_t at_ns = again_ns;
    for (auto& [number, post] : posts_) {
      if (Pair{post.from, post.to} != pair || post.delivered || post.error != 0 ||
          post.there_ns == 0) {
        continue;
      }
      post.held = false;
      post.partial_ns = 0;
      at_ns = post.there_ns = std::max(post.there_ns, at_ns);
      schedule(number, at_ns);
    }
    uint64_t& last_ns = last_delivery_ns_[pair];
    last_ns = std::max(last_ns, at_ns);
  }
}

void SimNetwork::break_next_post(uint32_t endpoint) {
  breaking_.insert(endpoint);
}

void SimNetwork::make_not_ready(uint32_t endpoint, uint64_t until_ns) {
  ports_[endpoint].not_ready_until_ns = until_ns;
}

void SimNetwork::overrun(uint32_t endpoint) {
  if (endpoints_[endpoint] == nullptr) return;
  ++counters_.overruns;
  endpoints_[endpoint]->overrun();
  touch(endpoint);
}

void SimNetwork::hold_posts(uint32_t endpoint) {
  ports_[endpoint].holds = true;
}

void SimNetwork::release_posts(uint32_t endpoint, uint64_t at_ns) {
  Port& port = ports_[endpoint];
  port.holds = false;
  for (const uint64_t number : port.held) depart(number, at_ns);
  port.held.clear();
}

const std::byte* SimNetwork::memory_at(const RemoteMemory& remote) const noexcept {
  const auto found = regions_.find(remote.key);
  if (found == regions_.end()) return nullptr;
  const uint64_t offset = remote.address - found->second.address;
  return offset < found->second.bytes ? found->second.base + offset : nullptr;
}

void SimNetwork::touch(uint32_t endpoint) {
  if (ports_[endpoint].touched) return;
  ports_[endpoint].touched = true;
  touched_.push_back(endpoint);
}

void SimNetwork::take_touched(std::vector<uint32_t>& endpoints) {
  endpoints.swap(touched_);
  touched_.clear();
  for (const uint32_t endpoint : endpoints) ports_[endpoint].touched = false;
}

void SimNetwork::schedule(uint64_t post, uint64_t at_ns) {
  // Of those due at one moment the first posted goes first, however often it was put off.
  posts_.at(post).due_order = due_.push(at_ns, post, post);
}

void SimNetwork::start(Post post) {
  ++counters_.posts;
  counters_.bytes += post.bytes;
  if (breaking_.erase(post.from) > 0) {
    ++counters_.broken;
    post.error = EIO;
    broken_links_.insert(post.link);
  }
  const uint64_t number = next_number_++;
  Port& port = ports_[post.from];
  posts_.emplace(number, std::move(post));
  if (port.holds) {
    port.held.push_back(number);
  } else {
    depart(number, clock_.now_ns());
  }
}

/// The post leaves its processor: through the send queue, over the wire.
void SimNetwork::depart(uint64_t number, uint64_t at_ns) {
  Post& post = posts_.at(number);
  post.posted_ns = at_ns;
  Port& port = ports_[post.from];
  const auto queue_number = static_cast<uint32_t>(post.to % port.queues.size());
  SendQueue& queue = port.queues[queue_number];
  const uint64_t service_ns =
      options_.nic_request_ns + post.bytes * options_.nic_picos_per_byte / 1'000;
  const uint64_t started_ns = std::max(queue.free_ns, at_ns);
  queue.free_ns = started_ns + service_ns;
  const uint64_t jitter_ns = options_.jitter_ns > 0 ? random_.below(options_.jitter_ns) : 0;
  uint64_t there_ns = queue.free_ns + options_.latency_ns + jitter_ns +
                      post.bytes * options_.picos_per_byte / 1'000;
  if (options_.receive_ns > 0 && post.op == Op::write_immediate) {
    Port& receiver = ports_[post.to];
    receiver.received_ns = there_ns =
        std::max(there_ns, receiver.received_ns) + options_.receive_ns;
  }
  if (faults_.delay_chance > 0 && random_.chance(faults_.delay_chance)) {
    ++counters_.delayed;
    there_ns += random_.below(faults_.delay_ns_max);
  }
  uint64_t& last_ns = last_delivery_ns_[{post.from, post.to}];
  last_ns = there_ns = std::max(there_ns, last_ns);
  post.there_ns = there_ns;
  counters_.reordered += there_ns < port.latest_there_ns ? 1 : 0;
  port.latest_there_ns = std::max(port.latest_there_ns, there_ns);
  if (watch_) {
    watch_({post.from,
            post.to,
            queue_number,
            post.immediate,
            post.op == Op::write_immediate,
            at_ns,
            started_ns,
            queue.free_ns,
            there_ns + options_.arrival_ns,
            {post.local, post.bytes}});
  }
  if (faults_.partial_chance > 0 && post.op != Op::read && post.bytes > 8 &&
      random_.chance(faults_.partial_chance)) {
    post.partial_ns = at_ns + random_.below(there_ns - at_ns + 1);
  }
  schedule(number, post.partial_ns != 0 ? post.partial_ns : there_ns);
}

void SimNetwork::let_go(uint64_t link) {
  for (auto& [number, post] : posts_) {
    if (post.link != link || post.delivered || post.op == Op::read) continue;
    post.on_the_wire.assign(reinterpret_cast<const char*>(post.local), post.bytes);
  }
}

void SimNetwork::run() {
  const uint64_t now_ns = clock_.now_ns();
  while (due_.is_due(now_ns)) {
    const auto [at_ns, turn, order, number] = due_.pop();
    const auto found = posts_.find(number);
    if (found == posts_.end() || found->second.due_order != order) continue;  // put off since
    Post& post = found->second;
    if (post.partial_ns != 0) {
      post.partial_ns = 0;
      land_some(post);
      schedule(number, post.there_ns);
    } else if (!post.delivered && post.error == 0) {
      deliver(number, post);
    } else {
      complete(post);
      posts_.erase(number);
    }
  }
  while (arrivals_.is_due(now_ns)) {
    const Arrival arrival = arrivals_.pop().what;
    show(arrival.endpoint, arrival.immediate);
  }
}

uint64_t SimNetwork::next_due_ns() const {
  return std::min(due_.next_ns(), arrivals_.next_ns());
}

void SimNetwork::show(uint32_t endpoint, uint32_t immediate) {
  if (endpoints_[endpoint] == nullptr) return;
  endpoints_[endpoint]->arrive(immediate);
  touch(endpoint);
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
    ++counters_.held_by_cuts;
    post.held = true;
    held.push_back(number);
    schedule(number, post.posted_ns + options_.cut_timeout_ns);
    return;
  }
  Port& port = ports_[post.to];
  if (post.op == Op::write_immediate && now_ns < port.not_ready_until_ns &&
      post.tries < kNotReadyRetries) {
    ++post.tries;
    ++counters_.retried;
    // What is behind it waits as well.
    const uint64_t again_ns = now_ns + kNotReadyRetryNs;
    uint64_t& last_ns = last_delivery_ns_[{post.from, post.to}];
    last_ns = std::max(last_ns, again_ns);
    for (auto& [other, behind] : posts_) {
      if (other > number && behind.link == post.link && !behind.delivered) {
        behind.partial_ns = 0;
        schedule(other, std::max(behind.there_ns, again_ns));
        behind.there_ns = std::max(behind.there_ns, again_ns);
      }
    }
    schedule(number, again_ns);
    return;
  }
  post.error = now_ns < port.not_ready_until_ns && post.op == Op::write_immediate ? ENOBUFS
                                                                                  : carry_out(post);
  post.delivered = true;
  if (post.error != 0) broken_links_.insert(post.link);
  uint64_t done_ns = now_ns + options_.done_delay_ns;
  if (faults_.late_done_chance > 0 && random_.chance(faults_.late_done_chance)) {
    ++counters_.late_done;
    done_ns += random_.below(faults_.late_done_ns_max);
  }
  schedule(number, done_ns);
}

/// Where the post's bytes go; nullptr: nowhere.
std::byte* SimNetwork::target_of(const Post& post) const {
  const auto found = regions_.find(post.remote.key);
  if (found == regions_.end()) return nullptr;
  const Region& region = found->second;
  const bool inside = region.endpoint == post.to && post.remote.address >= region.address &&
                      post.remote.address - region.address <= region.bytes &&
                      post.bytes <= region.bytes - (post.remote.address - region.address);
  const bool allowed = region.access == Access::remote_read_write ||
                       (region.access == Access::remote_write && post.op != Op::read);
  return inside && allowed ? region.base + (post.remote.address - region.address) : nullptr;
}

/// Some of the bytes, before their time: no order holds among the bytes of a write.
void SimNetwork::land_some(const Post& post) {
  if (endpoints_[post.to] == nullptr || broken_links_.contains(post.link) ||
      is_cut(post.from, post.to)) {
    return;
  }
  std::byte* remote = target_of(post);
  if (remote == nullptr) return;
  ++counters_.partial;
  const auto* from = post.on_the_wire.empty()
                         ? post.local
                         : reinterpret_cast<const std::byte*>(post.on_the_wire.data());
  const uint64_t start = random_.below(post.bytes);
  const uint64_t bytes = 1 + random_.below(post.bytes - start);
  std::memcpy(remote + start, from + start, bytes);
}

/// What the post does at the other side; an errno value when it does nothing.
int SimNetwork::carry_out(const Post& post) {
  SimEndpoint* target = endpoints_[post.to];
  if (target == nullptr) return ECONNRESET;
  std::byte* remote = target_of(post);
  if (remote == nullptr) {
    ++counters_.refused;
    return EACCES;
  }
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
  if (!post.on_the_wire.empty()) ++counters_.late_landings;
  const void* from =
      post.on_the_wire.empty() ? post.local : static_cast<const void*>(post.on_the_wire.data());
  std::memcpy(remote, from, post.bytes);
  if (post.op == Op::write_immediate) {
    const bool twice = faults_.duplicate_chance > 0 && random_.chance(faults_.duplicate_chance);
    counters_.duplicated += twice ? 1 : 0;
    for (int times = twice ? 2 : 1; times > 0; --times) {
      if (options_.arrival_ns == 0) {
        show(post.to, post.immediate);
      } else {
        arrivals_.push(clock_.now_ns() + options_.arrival_ns, {post.to, post.immediate});
      }
    }
  }
  return 0;
}

void SimNetwork::complete(const Post& post) {
  if (SimEndpoint* sender = endpoints_[post.from]; sender != nullptr) {
    if (sender->end_post(post.link, post.peer, post.context, post.error)) touch(post.from);
  }
}

}  // namespace copyrpc
