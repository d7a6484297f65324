// SPDX-License-Identifier: Apache-2.0
// Some nodes over a simulated network, one clock, and an echo service with a memory: each call
// carries a number and bytes, each answer must carry the same ones, each call is answered once, and
// calls from one node to another are served in order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "copyrpc/fabric/sim/sim_fabric.hpp"
#include "copyrpc/node.hpp"

namespace copyrpc::test {

struct SceneOptions {
  uint32_t nodes = 2;
  NodeOptions node{};
  SimOptions sim{};
  uint32_t answers_per_turn = 64;
  uint32_t calls_per_turn = 16;
  double put_back = 0;  ///< chance that a taken group is cut off and given back
  double defer = 0;     ///< chance that a call is answered in a later turn
  uint64_t seed = 1;
};

class Scene {
 public:
  explicit Scene(const SceneOptions& options);

  /// One turn of one node, in the order of the engine.
  void turn(uint32_t node);
  /// Everyone once, then time moves on.
  void step(uint64_t by_ns = 200);
  /// Until `done`, at most for `virtual_ms`.
  template <class Done>
  [[nodiscard]] bool run_until(Done done, uint64_t virtual_ms = 5'000) {
    const uint64_t end_ns = clock.now_ns() + virtual_ms * copykv::kNanosPerMilli;
    while (!done()) {
      if (clock.now_ns() >= end_ns) return false;
      // Straight to the next event, but for what only time brings.
      const uint64_t now_ns = clock.now_ns();
      const uint64_t due_ns = std::max(network.next_due_ns(), now_ns + 200);
      step(std::min(due_ns - now_ns, uint64_t{1'000'000}));
    }
    return true;
  }
  void run_ms(uint64_t virtual_ms) {
    (void)run_until([] { return false; }, virtual_ms);
  }
  [[nodiscard]] bool connect_all();
  /// Starts a call of `bytes` bytes; false: no room now, or nobody there (sent says which).
  bool call(uint32_t from, uint32_t to, uint32_t bytes, uint32_t answer_bytes);
  /// Ends a node as kill -9 would.
  void kill(uint32_t node);
  /// A new incarnation of it; everyone is told its card.
  void restart(uint32_t node);
  [[nodiscard]] Node& node(uint32_t number) { return *places[number].node; }
  [[nodiscard]] bool idle() const;
  [[nodiscard]] uint64_t in_flight() const { return calls_out.size(); }

  struct Call {
    uint32_t from;
    uint32_t to;
    uint32_t answer_bytes;
    uint64_t order;
  };
  struct Place {
    std::unique_ptr<Fabric> fabric;
    std::unique_ptr<Node> node;
    uint64_t incarnation = 0;
    uint32_t endpoint = 0;
    std::deque<InboundCall> deferred;
    std::deque<std::string> deferred_payloads;
    std::map<uint32_t, uint64_t> last_order;  ///< by caller
  };

  SceneOptions options;
  copykv::ManualClock clock{1'000'000};
  SimNetwork network;
  copykv::Random random;
  std::vector<Place> places;
  std::map<uint64_t, Call> calls_out;  ///< by number
  uint64_t next_number = 1;
  Node::Sent sent = Node::Sent::accepted;
  uint64_t answered = 0;
  uint64_t lost = 0;
  uint64_t unsent = 0;
  uint64_t timed_out = 0;
  uint64_t served = 0;
  uint32_t endpoints = 0;
  bool check_order = true;

 private:
  void start(uint32_t node);
  void take_answers(uint32_t node);
  void serve(uint32_t node);
  void reply(uint32_t node, const InboundCall& call, const std::byte* payload);
};

}  // namespace copyrpc::test
