// SPDX-License-Identifier: Apache-2.0
// What connects the emulated devices: who is who, and what is due when.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <queue>
#include <unordered_map>
#include <vector>

#include "base/random.hpp"
#include "tests/emulated_mlx5/emulated_mlx5.hpp"
#include "tests/emulated_mlx5/model.hpp"

namespace emulated_mlx5 {

struct LateWrite;

struct Event {
  uint64_t at_ns = 0;
  uint64_t order = 0;
  enum class Kind : uint8_t { arrival, completion, late } kind = Kind::arrival;
  uint32_t pair = 0;
  uint32_t generation = 0;
  std::shared_ptr<LateWrite> late;

  [[nodiscard]] bool operator>(const Event& other) const noexcept {
    return at_ns != other.at_ns ? at_ns > other.at_ns : order > other.order;
  }
};

class Neighbours;

struct Network {
  Network();
  std::mutex mutex;
  Options options;
  Counters counters;
  copykv::Random random{1};
  std::vector<std::unique_ptr<Device>> devices;
  std::vector<Context*> contexts;
  std::unordered_map<uint32_t, Pair*> pairs;
  std::unordered_map<uint32_t, Region*> regions;  ///< by key; lkey and rkey are one
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events;
  uint64_t events_made = 0;
  size_t objects = 0;
  std::unique_ptr<Neighbours> neighbours;  ///< null: this process is alone

  [[nodiscard]] uint64_t now_ns() const noexcept;
  /// A number that is not in use, as a queue pair's or a key: neither is guessed easily.
  [[nodiscard]] uint32_t new_pair_number();
  [[nodiscard]] uint32_t new_key();
  [[nodiscard]] Pair* find_pair(uint32_t number) const noexcept;
  void schedule(uint64_t at_ns, Event::Kind kind, const Pair& pair);
  void schedule_late(uint64_t at_ns, std::shared_ptr<LateWrite> late);
  /// All that is due.
  void pump();
};

[[nodiscard]] Network& network();

/// Held by every call.
class Locked {
 public:
  Locked() : guard_(network().mutex) {}
  [[nodiscard]] Network* operator->() const noexcept { return &network(); }
  [[nodiscard]] Network& operator*() const noexcept { return network(); }

 private:
  std::lock_guard<std::mutex> guard_;
};

struct Response;

// requester.cpp
void ring_doorbell(Network& network, Pair& pair, uint64_t new_posted);
void arrive(Network& network, Pair& pair);
void complete(Network& network, Pair& pair);
/// What came of the request that arrives next.
void settle(Network& network, Pair& pair, const Response& response);
/// Its next part goes to another process; or nobody is there, and it is settled. Its local parts
/// are valid.
void go_away(Network& network, Pair& pair);
/// To ERR: what is left in the send queue is flushed.
void fail_pair(Network& network, Pair& pair);
/// Writes that have left go on by themselves (also: reset and destroy are no fence).
void let_go(Network& network, Pair& pair);

// responder.cpp
enum class Verdict : uint8_t {
  done,
  not_ready,  ///< no receive entry
  lost,       ///< nobody answers
  refused,    ///< `status` says why
};
struct Response {
  Verdict verdict = Verdict::done;
  ibv_wc_status status = IBV_WC_SUCCESS;
  uint8_t rnr_timer = 0;
};
/// What the target's side sees of a request.
struct Ask {
  PairKind from_kind = PairKind::rc;
  uint32_t from_pair = 0;
  uint32_t target = 0;
  ibv_ah_attr address{};
  uint64_t dc_key = 0;
  ibv_wr_opcode opcode = IBV_WR_RDMA_WRITE;
  uint32_t rkey = 0;
  uint64_t remote_address = 0;
  uint64_t bytes = 0;
  __be32 immediate = 0;
};
[[nodiscard]] Ask ask_of(const Pair& from, const Request& request);
/// A write that its queue pair no longer knows of: it had left when that was reset or destroyed.
struct LateWrite {
  Ask ask;
  std::vector<std::byte> bytes;
};
/// Who it is, and where its bytes stand, if it may: `done` then.
struct Reached {
  Response response;
  Pair* target = nullptr;
  std::byte* remote = nullptr;
};
[[nodiscard]] Reached reach(Network& network, const Ask& ask);
/// A receive entry is used up, and the target learns of it. The caller has seen that there is one.
void announce(Network& network, Pair& target, const Ask& ask);
[[nodiscard]] bool local_parts_are_valid(Network& network, const Pair& pair,
                                         const Request& request);
/// All of it at once, in this process.
[[nodiscard]] Response respond(Network& network, Pair& from, const Request& request,
                               std::byte* inline_data);
void land_late(Network& network, const LateWrite& late);

// completion_queue.cpp
void push(Network& network, CompletionQueue& queue, const Entry& entry);
void forget(CompletionQueue& queue, const Pair& pair);
void raise(Context& context, const ibv_async_event& event);

}  // namespace emulated_mlx5
