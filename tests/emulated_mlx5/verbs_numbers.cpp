// SPDX-License-Identifier: Apache-2.0
// Figures of the transports `rc` and `dc` on the emulated device. They are of our code, or
// simulated: none is of a ConnectX.
//
//   verbs_numbers TRANSPORT posts COUNT [N]     so many batches of 64 B from one endpoint to
//                                               another, N in a turn, for callgrind
//   verbs_numbers TRANSPORT messages COUNT [N]  so many turns of N calls and their answers between
//                                               two nodes, for callgrind (instructions.py)
//   verbs_numbers TRANSPORT allocations         those of 10,000 batches, after 10,000 others: exit
//                                               1 if there is one
//   verbs_numbers TRANSPORT memory PEERS        what an endpoint that talks with so many peers
//   takes verbs_numbers dc initiators                 messages a second with 1..32 initiators,
//   simulated
#include <malloc.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "copyrpc/fabric/verbs/verbs_fabric.hpp"
#include "copyrpc/messages.hpp"
#include "copyrpc/node.hpp"
#include "tests/emulated_mlx5/emulated_mlx5.hpp"
#include "tests/unit/allocation_count.hpp"

namespace numbers {
namespace {

using namespace copyrpc;

bool is_dc = false;

struct Endpoint {
  std::unique_ptr<Fabric> fabric;
  std::vector<std::byte> bytes = std::vector<std::byte>(4096);
  Memory memory;
  uint64_t arrived = 0;

  explicit Endpoint(const VerbsOptions& options) {
    auto made = is_dc ? make_dc_fabric(options) : make_rc_fabric(options);
    if (!made) {
      std::fprintf(stderr, "%s\n", made.error.c_str());
      std::exit(1);
    }
    fabric = std::move(*made);
    memory = *fabric->register_memory(bytes.data(), bytes.size(), Access::remote_write);
  }
  ~Endpoint() { fabric->deregister(memory); }

  void poll() {
    std::array<Completion, 32> found;
    const uint32_t count = fabric->poll(found);
    for (uint32_t at = 0; at < count; ++at)
      if (found[at].kind == Completion::Kind::arrived) ++arrived;
  }
  bool post(PeerId peer, const Endpoint& to, uint64_t context) {
    return fabric->write_immediate(peer, {&memory, 0, 64}, to.memory.remote, 1, context) ==
           Fabric::Posted::yes;
  }
};

VerbsOptions options_for(uint32_t peers, uint32_t initiators) {
  VerbsOptions options;
  options.address = "127.0.0.1";
  options.peers_max = peers;
  options.initiators = initiators;
  return options;
}

void introduce(Endpoint& from, PeerId as, Endpoint& to) {
  if (!from.fabric->connect(as, to.fabric->address())) std::exit(1);
  while (!from.post(as, to, kUnsignalled)) {
    from.poll();
    to.poll();
  }
  from.fabric->submit();
}

void exchange(Endpoint& a, Endpoint& b, uint32_t count, uint32_t per_turn = 1) {
  for (uint32_t at = 0; at < count; at += per_turn) {
    for (uint32_t one = 0; one < per_turn; ++one)
      if (!a.post(1, b, at + one + 1)) std::exit(1);
    a.fabric->submit();
    b.poll();
    a.poll();
  }
}

int posts(uint32_t count, uint32_t per_turn) {
  emulated_mlx5::configure({});
  Endpoint a(options_for(4, VerbsOptions{}.initiators));
  Endpoint b(options_for(4, VerbsOptions{}.initiators));
  introduce(a, 1, b);
  exchange(a, b, count, per_turn);
  std::printf("%u batches, %lu arrived\n", count, b.arrived);
  return 0;
}

/// A node over an endpoint of its own; node 0 calls, node 1 answers.
struct Rank {
  copykv::SystemClock clock;
  Endpoint endpoint;
  std::unique_ptr<Node> node;

  explicit Rank(PeerId number) : endpoint(options_for(4, VerbsOptions{}.initiators)) {
    NodeOptions options;
    options.node = number;
    options.nodes = 2;
    options.ring_bytes = 1U << 18;
    auto made = Node::create(options, *endpoint.fabric, clock);
    if (!made) std::exit(1);
    node = std::move(*made);
  }
};

// Not inlined: callgrind counts them by their names. Payloads of 16 bytes, made where they leave
// from and looked at where they have come, as the daemon does.
constexpr uint32_t kPayloadBytes = 16;

[[gnu::noinline]] void stage_calls(Node& node, uint32_t count) {
  Peer* const peer = node.callee(1);
  for (uint32_t one = 0; one < count; ++one) {
    const auto sent =
        node.call(*peer, kPayloadBytes, kPayloadBytes, [one](std::byte* to, CallTag& tag) {
          std::memcpy(to, &one, sizeof(one));
          tag.words[0] = one;
        });
    if (sent != Node::Sent::accepted) std::exit(1);
  }
}

[[gnu::noinline]] uint32_t take_calls(Node& node, std::span<InboundCall> calls) {
  uint32_t count = 0;
  return node.take_calls(static_cast<uint32_t>(calls.size()), [&](const InboundCall& call) {
    calls[count++] = call;
    return true;
  });
}

[[gnu::noinline]] void stage_answers(Node& node, std::span<const InboundCall> calls) {
  for (const InboundCall& call : calls)
    node.reply(call, kPayloadBytes,
               [&](std::byte* to) { std::memcpy(to, call.payload, kPayloadBytes); });
}

[[gnu::noinline]] uint32_t take_answers(Node& node, uint64_t& sum) {
  return node.take_answers(64, [&](const Answer& answer) {
    sum += answer.tag.words[0];
    return true;
  });
}

void turn(Rank& a, Rank& b, uint32_t per_turn, uint64_t& sum) {
  std::array<InboundCall, 64> calls;
  stage_calls(*a.node, per_turn);
  a.node->flush();
  for (uint32_t answered = 0; answered < per_turn;) {
    (void)b.node->poll();
    std::array<Answer, 1> none;
    (void)b.node->take_answers(none);  // looks at what has come
    stage_answers(*b.node, std::span(calls).first(take_calls(*b.node, calls)));
    b.node->flush();
    (void)a.node->poll();
    answered += take_answers(*a.node, sum);
    a.node->flush();
  }
}

int messages(uint32_t count, uint32_t per_turn) {
  emulated_mlx5::configure({});
  Rank a(0);
  Rank b(1);
  a.node->set_peer(b.node->card());
  b.node->set_peer(a.node->card());
  while (a.node->peers_up() == 0 || b.node->peers_up() == 0)
    for (Rank* one : {&a, &b}) {
      (void)one->node->poll();
      one->node->tick(one->clock.now_ns());
    }
  uint64_t sum = 0;
  for (uint32_t at = 0; at < count; ++at) turn(a, b, per_turn, sum);
  std::printf("%u turns, %lu messages in %lu batches\n", count, a.node->counters().messages_sent,
              a.node->counters().batches_sent);
  return sum == uint64_t{count} * per_turn * (per_turn - 1) / 2 ? 0 : 1;
}

int allocations_of_many() {
  emulated_mlx5::configure({});
  Endpoint a(options_for(4, VerbsOptions{}.initiators));
  Endpoint b(options_for(4, VerbsOptions{}.initiators));
  introduce(a, 1, b);
  exchange(a, b, 10'000);
  const uint64_t before = copykv::test::allocation_count();
  exchange(a, b, 10'000);
  const uint64_t made = copykv::test::allocation_count() - before;
  std::printf("%lu allocations in 10,000 batches\n", made);
  return made == 0 ? 0 : 1;
}

int memory(uint32_t peers) {
  emulated_mlx5::configure({});
  const auto used = [] { return static_cast<uint64_t>(mallinfo2().uordblks + mallinfo2().hblkhd); };
  const uint64_t before = used();
  Endpoint a(options_for(peers, VerbsOptions{}.initiators));
  const uint64_t ours = used() - before;
  const uint64_t queues = emulated_mlx5::queue_bytes(emulated_mlx5::open_contexts().back());
  std::printf(
      "one rank with %u peers, before it is connected: queues of the device %.1f KiB, our tables "
      "at "
      "most %.1f KiB (with the emulated device's own)\n",
      peers, static_cast<double>(queues) / 1024, static_cast<double>(ours) / 1024);
  return 0;
}

/// Messages a second, simulated: `peers` targets in random order, so many in one turn.
double rate(uint32_t initiators, uint32_t peers, uint32_t per_turn) {
  copykv::ManualClock clock(1);
  emulated_mlx5::Options device;
  device.clock = &clock;
  emulated_mlx5::configure(device);
  std::vector<std::unique_ptr<Endpoint>> others;
  Endpoint a(options_for(peers, initiators));
  for (PeerId peer = 0; peer < peers; ++peer) {
    auto& other = others.emplace_back(std::make_unique<Endpoint>(options_for(1, 1)));
    if (!a.fabric->connect(peer, other->fabric->address())) std::exit(1);
    while (!a.post(peer, *other, kUnsignalled)) {
      a.poll();
      other->poll();
    }
  }
  copykv::Random random(1);
  const uint64_t start_ns = clock.now_ns();
  constexpr uint64_t kSpanNs = 2'000'000;
  uint64_t posted = 0;
  while (clock.now_ns() - start_ns < kSpanNs) {
    for (uint32_t at = 0; at < per_turn; ++at) {
      const auto peer = static_cast<PeerId>(random.below(peers));
      if (a.post(peer, *others[peer], kUnsignalled)) ++posted;
    }
    a.fabric->submit();
    clock.advance_ns(500);
    a.poll();
    for (const auto& other : others) other->poll();
  }
  uint64_t arrived = 0;
  for (const auto& other : others) arrived += other->arrived;
  return static_cast<double>(arrived) * 1e3 / static_cast<double>(kSpanNs);
}

int initiators() {
  std::printf("simulated, million batches a second; a turn of 0.5 us stages up to 8 batches\n");
  std::printf("%11s %8s %8s %8s\n", "initiators", "2 peers", "8 peers", "64 peers");
  for (const uint32_t count : {1U, 2U, 4U, 8U, 16U, 32U})
    std::printf("%11u %8.2f %8.2f %8.2f\n", count, rate(count, 2, 8), rate(count, 8, 8),
                rate(count, 64, 8));
  return 0;
}

}  // namespace
}  // namespace numbers

int main(int argc, char** argv) {
  const std::string transport = argc > 1 ? argv[1] : "";
  const std::string what = argc > 2 ? argv[2] : "";
  const auto number = static_cast<uint32_t>(argc > 3 ? std::atoi(argv[3]) : 0);
  const auto per_turn = static_cast<uint32_t>(argc > 4 ? std::atoi(argv[4]) : 1);
  numbers::is_dc = transport == "dc";
  if (numbers::is_dc || transport == "rc") {
    if (what == "posts" && number > 0 && per_turn > 0) return numbers::posts(number, per_turn);
    if (what == "messages" && number > 0 && per_turn - 1 < 64)
      return numbers::messages(number, per_turn);
    if (what == "allocations") return numbers::allocations_of_many();
    if (what == "memory" && number > 0) return numbers::memory(number);
    if (what == "initiators" && numbers::is_dc) return numbers::initiators();
  }
  std::fprintf(stderr,
               "usage: verbs_numbers rc|dc posts COUNT [N] | messages COUNT [N] | allocations | "
               "memory PEERS | initiators\n");
  return 2;
}
