// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/copyrpc/scene.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace copyrpc::test {
namespace {

/// What each call starts with; the rest are bytes that follow from the number.
struct Head {
  uint64_t number;
  uint64_t order;  ///< per caller and callee
  uint32_t payload_bytes;
  uint32_t answer_bytes;
};

[[nodiscard]] std::byte byte_of(uint64_t number, uint32_t at) {
  return static_cast<std::byte>(number * 131 + at * 7);
}

void fill(std::byte* to, uint64_t number, uint32_t bytes) {
  for (uint32_t at = 0; at < bytes; ++at) to[at] = byte_of(number, at);
}

[[nodiscard]] bool is_filled(const std::byte* from, uint64_t number, uint32_t bytes) {
  for (uint32_t at = 0; at < bytes; ++at) {
    if (from[at] != byte_of(number, at)) return false;
  }
  return true;
}

}  // namespace

Scene::Scene(const SceneOptions& with)
    : options(with), network(with.sim, clock), random(with.seed), places(with.nodes) {
  for (uint32_t number = 0; number < options.nodes; ++number) start(number);
}

void Scene::start(uint32_t number) {
  Place& place = places[number];
  place.fabric = network.attach();
  place.endpoint = endpoints++;
  NodeOptions node_options = options.node;
  node_options.node = number;
  node_options.nodes = options.nodes;
  node_options.incarnation = ++place.incarnation;
  node_options.seed = options.seed * 1000 + number;
  auto made = Node::create(node_options, *place.fabric, clock);
  INFO(made.error);
  REQUIRE(made);
  place.node = std::move(*made);
}

bool Scene::connect_all() {
  for (Place& from : places) {
    for (Place& to : places) {
      if (&from != &to) to.node->set_peer(from.node->card());
    }
  }
  return run_until([&] {
    return std::all_of(places.begin(), places.end(), [&](const Place& place) {
      return place.node->peers_up() == options.nodes - 1;
    });
  });
}

void Scene::kill(uint32_t number) {
  Place& place = places[number];
  place.node.reset();
  place.fabric.reset();
  place.deferred.clear();
  place.deferred_payloads.clear();
  place.last_order.clear();
  for (Place& other : places) other.last_order.erase(number);
  std::erase_if(calls_out, [&](const auto& entry) { return entry.second.from == number; });
}

void Scene::restart(uint32_t number) {
  start(number);
  for (Place& other : places) {
    if (other.node == nullptr || &other == &places[number]) continue;
    other.node->set_peer(places[number].node->card());
    places[number].node->set_peer(other.node->card());
  }
}

bool Scene::idle() const {
  return std::none_of(places.begin(), places.end(), [](const Place& place) {
    return place.node != nullptr && (place.node->busy() || !place.deferred.empty());
  });
}

bool Scene::call(uint32_t from, uint32_t to, uint32_t bytes, uint32_t answer_bytes) {
  const uint64_t number = next_number;
  const Head head{number, number, bytes, answer_bytes};
  constexpr uint32_t kHead = sizeof(Head);
  Peer* const peer = node(from).callee(to);
  const auto write = [&](std::byte* into, CallTag& tag) {
    tag = {{number, ~number}};
    std::memcpy(into, &head, kHead);
    fill(into + kHead, number, bytes);
  };
  sent = peer == nullptr ? Node::Sent::unreachable
                         : node(from).call(*peer, kHead + bytes, kHead + answer_bytes, write);
  if (sent != Node::Sent::accepted) return false;
  ++next_number;
  calls_out[number] = {from, to, answer_bytes, number};
  return true;
}

void Scene::take_answers(uint32_t number) {
  std::vector<Answer> answers(options.answers_per_turn);
  const uint32_t count = node(number).take_answers(answers);
  for (uint32_t index = 0; index < count; ++index) {
    const Answer& answer = answers[index];
    const uint64_t call_number = answer.tag.words[0];
    REQUIRE(answer.tag.words[1] == ~call_number);
    const auto found = calls_out.find(call_number);
    REQUIRE(found != calls_out.end());  // told once, to the caller
    REQUIRE(found->second.from == number);
    REQUIRE(found->second.to == answer.peer);
    if (answer.end == CallEnd::answered) {
      Head head{};
      REQUIRE(answer.payload_bytes == sizeof(head) + found->second.answer_bytes);
      std::memcpy(&head, answer.payload, sizeof(head));
      REQUIRE(head.number == call_number);
      REQUIRE(is_filled(answer.payload + sizeof(head), ~call_number, found->second.answer_bytes));
      ++answered;
    } else {
      lost += answer.end == CallEnd::lost;
      unsent += answer.end == CallEnd::unsent;
      timed_out += answer.end == CallEnd::timed_out;
    }
    calls_out.erase(found);
  }
}

void Scene::reply(uint32_t number, const InboundCall& call, const std::byte* payload) {
  Head head{};
  std::memcpy(&head, payload, sizeof(head));
  std::vector<std::byte> answer(sizeof(head) + head.answer_bytes);
  std::memcpy(answer.data(), &head, sizeof(head));
  fill(answer.data() + sizeof(head), ~head.number, head.answer_bytes);
  node(number).reply(call, answer);
}

void Scene::serve(uint32_t number) {
  Place& place = places[number];
  while (!place.deferred.empty() && random.chance(0.3)) {
    const std::string payload = place.deferred_payloads.front();
    reply(number, place.deferred.front(), reinterpret_cast<const std::byte*>(payload.data()));
    place.deferred.pop_front();
    place.deferred_payloads.pop_front();
  }
  std::vector<InboundCall> calls(options.calls_per_turn);
  const uint32_t count = place.node->take_calls(calls);
  for (uint32_t index = 0; index < count; ++index) {
    const InboundCall& call = calls[index];
    if (random.chance(options.put_back)) {
      place.node->put_back(std::span(calls).subspan(index, count - index));
      return;
    }
    Head head{};
    REQUIRE(call.payload_bytes >= sizeof(head));
    std::memcpy(&head, call.payload, sizeof(head));
    REQUIRE(call.payload_bytes == sizeof(head) + head.payload_bytes);
    REQUIRE(is_filled(call.payload + sizeof(head), head.number, head.payload_bytes));
    if (check_order) REQUIRE(place.last_order[call.peer] < head.order);
    place.last_order[call.peer] = head.order;
    ++served;
    if (random.chance(options.defer)) {
      place.deferred.push_back(call);
      place.deferred_payloads.emplace_back(reinterpret_cast<const char*>(call.payload),
                                           call.payload_bytes);
    } else {
      reply(number, call, call.payload);
    }
  }
}

void Scene::turn(uint32_t number) {
  Node& node_of = node(number);
  (void)node_of.poll();
  take_answers(number);
  serve(number);
  node_of.flush();
  node_of.tick(clock.now_ns());
  REQUIRE(node_of.is_valid());
}

void Scene::step(uint64_t by_ns) {
  for (uint32_t number = 0; number < options.nodes; ++number) {
    if (places[number].node != nullptr) turn(number);
  }
  clock.advance_ns(by_ns);
}

}  // namespace copyrpc::test
