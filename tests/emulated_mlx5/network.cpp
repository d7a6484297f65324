// SPDX-License-Identifier: Apache-2.0
#include "tests/emulated_mlx5/network.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "tests/emulated_mlx5/neighbours.hpp"

namespace emulated_mlx5 {

Network::Network() = default;

Network& network() {
  static Network* const one = new Network;  // outlives every static of the program
  return *one;
}

Context& context_of(ibv_context* context) noexcept {
  return *reinterpret_cast<Context*>(verbs_get_ctx(context));
}

uint64_t Network::now_ns() const noexcept {
  return options.clock != nullptr ? options.clock->now_ns() : copykv::kSystemClock.now_ns();
}

uint32_t Network::new_pair_number() {
  for (;;) {
    auto number = static_cast<uint32_t>(1 + random.below((1U << 24) - 2));  // 24 bits
    if (neighbours != nullptr)
      number = neighbours->place() << kPlaceShift | (number & ((1U << kPlaceShift) - 1));
    if (!pairs.contains(number)) return number;
  }
}

uint32_t Network::new_key() {
  for (;;) {
    const auto key = static_cast<uint32_t>(random.next()) | 1U << 24;
    if (!regions.contains(key)) return key;
  }
}

Pair* Network::find_pair(uint32_t number) const noexcept {
  const auto found = pairs.find(number);
  return found == pairs.end() ? nullptr : found->second;
}

void Network::schedule(uint64_t at_ns, Event::Kind kind, const Pair& pair) {
  events.push({at_ns, ++events_made, kind, pair.qp_base.qp_num, pair.generation, nullptr});
}

void Network::schedule_late(uint64_t at_ns, std::shared_ptr<LateWrite> late) {
  events.push({at_ns, ++events_made, Event::Kind::late, 0, 0, std::move(late)});
}

void Network::pump() {
  while (!events.empty() && events.top().at_ns <= now_ns()) {
    const Event event = events.top();
    events.pop();
    if (event.kind == Event::Kind::late) {
      land_late(*this, *event.late);
      continue;
    }
    Pair* pair = find_pair(event.pair);
    if (pair == nullptr || pair->generation != event.generation) continue;
    if (event.kind == Event::Kind::arrival)
      arrive(*this, *pair);
    else
      complete(*this, *pair);
  }
}

void configure(const Options& options) {
  const Locked net;
  COPYKV_ASSERT(net->contexts.empty(), "open={}", net->contexts.size());
  net->options = options;
  net->counters = {};
  net->random = copykv::Random(options.seed);
  net->events = {};
  net->devices.clear();
}

uint64_t next_due_ns() {
  const Locked net;
  return net->events.empty() ? ~uint64_t{0} : net->events.top().at_ns;
}

std::vector<ibv_context*> open_contexts() {
  const Locked net;
  std::vector<ibv_context*> open;
  for (Context* context : net->contexts) open.push_back(&context->verbs.context);
  return open;
}

void cut(ibv_context* context, bool is_cut) {
  const Locked net;
  context_of(context).cut = is_cut;
}

Counters counters() {
  const Locked net;
  return net->counters;
}

size_t live_objects() {
  const Locked net;
  return net->objects;
}

uint64_t queue_bytes(ibv_context* context) {
  const Locked net;
  return context_of(context).queue_bytes;
}

}  // namespace emulated_mlx5
