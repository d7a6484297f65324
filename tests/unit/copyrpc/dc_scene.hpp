// SPDX-License-Identifier: Apache-2.0
// Endpoints of `dc` on the emulated device, under virtual time.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "copyrpc/fabric/verbs/verbs_fabric.hpp"
#include "tests/emulated_mlx5/emulated_mlx5.hpp"

namespace copyrpc {

struct DcEndpoint {
  std::unique_ptr<Fabric> fabric;
  ibv_context* context = nullptr;
  std::vector<std::byte> bytes = std::vector<std::byte>(65'536);
  Memory memory{};
  std::vector<uint32_t> arrived;
  std::vector<uint64_t> arrived_at_ns;
  std::vector<Completion> ended;
  std::vector<Completion> lost;

  [[nodiscard]] uint32_t count(Completion::Kind kind, PeerId peer) const {
    return static_cast<uint32_t>(std::count_if(ended.begin(), ended.end(), [&](const auto& one) {
      return one.kind == kind && one.peer == peer;
    }));
  }
};

struct DcScene {
  copykv::ManualClock clock{1'000};
  std::vector<std::unique_ptr<DcEndpoint>> all;
  VerbsOptions options;

  explicit DcScene(uint32_t initiators, emulated_mlx5::Options device = {},
                   uint32_t peers_max = 16) {
    device.clock = &clock;
    emulated_mlx5::configure(device);
    options.address = "127.0.0.1";
    options.initiators = initiators;
    options.peers_max = peers_max;
    options.posts_max = 64;
  }

  DcEndpoint& add() {
    auto fabric = make_dc_fabric(options);
    INFO(fabric.error);
    REQUIRE(fabric);
    auto& made = *all.emplace_back(std::make_unique<DcEndpoint>());
    made.fabric = std::move(*fabric);
    made.context = emulated_mlx5::open_contexts().back();
    made.memory = *made.fabric->register_memory(made.bytes.data(), made.bytes.size(),
                                                Access::remote_read_write);
    return made;
  }
  /// `from` knows `to` by that number, and can post.
  void connect(DcEndpoint& from, PeerId as, DcEndpoint& to) {
    REQUIRE(from.fabric->connect(as, to.fabric->address()));
    const size_t before = to.arrived.size();
    REQUIRE(until([&] { return post(from, as, to, 0, kUnsignalled) == Fabric::Posted::yes; }));
    from.fabric->submit();
    REQUIRE(until([&] { return to.arrived.size() > before; }));
    to.arrived.clear();
    to.arrived_at_ns.clear();
  }
  static Fabric::Posted post(DcEndpoint& from, PeerId peer, DcEndpoint& to, uint32_t immediate,
                             uint64_t context, uint32_t bytes = 64) {
    return from.fabric->write_immediate(peer, {&from.memory, 0, bytes}, to.memory.remote, immediate,
                                        context);
  }
  void poll(DcEndpoint& one) {
    std::array<Completion, 16> found;
    const uint32_t count = one.fabric->poll(found);
    for (uint32_t at = 0; at < count; ++at) {
      if (found[at].kind == Completion::Kind::arrived) {
        one.arrived.push_back(found[at].immediate);
        one.arrived_at_ns.push_back(clock.now_ns());
      } else if (found[at].kind == Completion::Kind::peer_lost) {
        one.lost.push_back(found[at]);
      } else {
        one.ended.push_back(found[at]);
      }
    }
  }
  /// Everyone polls, and time goes to what is next.
  void step() {
    for (const auto& one : all)
      if (one->fabric) poll(*one);
    const uint64_t due_ns = emulated_mlx5::next_due_ns();
    const uint64_t now_ns = clock.now_ns();
    clock.advance_ns(due_ns <= now_ns ? 1 : std::min<uint64_t>(due_ns - now_ns, 10'000));
  }
  bool until(const std::function<bool()>& condition, uint32_t steps_max = 200'000) {
    for (uint32_t at = 0; at < steps_max; ++at) {
      if (condition()) return true;
      step();
    }
    return false;
  }
};

}  // namespace copyrpc
