// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/copyrpc/protocol_example.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "base/clock.hpp"
#include "daemon/job_card.hpp"
#include "daemon/rpc_network.hpp"
#include "sim/in_process_rank.hpp"
#include "tests/unit/copyrpc/protocol_example_tape.hpp"

namespace copykv::test {
namespace {

constexpr uint64_t kEpoch = 1'800'000'000'000'000'000;  // nanoseconds since 1970: January 2027
constexpr uint32_t kRanks = 2;
constexpr uint32_t kRingBytes = 65'536;

template <class T>
[[nodiscard]] T take(Outcome<T> made) {
  REQUIRE(made);
  return std::move(*made);
}

/// One rank of one daemon thread: the real client, engine, store and copyrpc.
struct Rank {
  Rank(Tape& tape, ManualClock& clock, uint32_t number)
      : memory(take(StoreMemory::create(
            {.budget_bytes = kStoreBudgetBytesMin, .huge_pages = HugePages::off}))) {
    sim::InProcessRank parts = sim::make_rank(
        number, tape.attach(), {.incarnation = kEpoch + number, .ring_bytes = kRingBytes},
        {.rank_count = kRanks}, clock, *memory);
    network = std::move(parts.network);
    daemon = std::move(parts.daemon);
    seat = daemon->attach({0, 1, 16, 4096, 64U << 10});
    client = std::make_unique<Client>(daemon->client(*seat));
  }

  std::unique_ptr<StoreMemory> memory;
  std::unique_ptr<RpcNetwork> network;
  std::unique_ptr<sim::InProcessDaemon> daemon;
  std::unique_ptr<sim::Seat> seat;
  std::unique_ptr<Client> client;
};

struct Job {
  Job() {
    ranks[0].network->set_peer(ranks[1].network->node().card());
    ranks[1].network->set_peer(ranks[0].network->node().card());
    settle();
  }
  /// Long enough for everything but a time-out.
  void settle() {
    for (uint32_t turn = 0; turn < 64; ++turn) {
      for (Rank& rank : ranks) (void)rank.daemon->turn();
      clock.advance_ns(1'000'000);
    }
    std::array<Completion, 16> ends;
    (void)ranks[0].client->poll(ends);
  }
  /// The bytes of the `which`-th batch from rank to rank since `first`.
  [[nodiscard]] Bytes batch(size_t first, uint32_t from, uint32_t which = 0) const {
    for (size_t at = first; at < tape.posts.size(); ++at) {
      const TapedPost& post = tape.posts[at];
      const bool is_batch = post.immediate && copyrpc::Immediate::unpack(*post.immediate).told ==
                                                  copyrpc::Told::batch;
      if (post.from == from && is_batch && which-- == 0) return bytes_of(post.bytes);
    }
    FAIL("no such batch");
    return {};
  }

  Tape tape;
  ManualClock clock{1'000'000'000};
  Rank ranks[kRanks] = {{tape, clock, 0}, {tape, clock, 1}};
};

[[nodiscard]] Bytes word(uint32_t value) {
  return bytes_of({reinterpret_cast<const char*>(&value), sizeof(value)});
}

void show_session(const Job& job, Examples& examples) {
  for (const TapedPost& post : job.tape.posts) {
    if (post.from != 0 || !post.immediate) continue;
    const auto told = copyrpc::Immediate::unpack(*post.immediate).told;
    examples[told == copyrpc::Told::hello ? "immediate-hello" : "immediate-batch"] =
        word(*post.immediate);
    if (told == copyrpc::Told::hello) examples["hello"] = bytes_of(post.bytes);  // the last one
  }
}

}  // namespace

void show_ranks(Examples& examples) {
  Job job;
  Client& client = *job.ranks[0].client;
  const copyrpc::Card card = job.ranks[1].network->node().card();
  examples["endpoint-address"] = bytes_of(card.address);
  examples["card"] = bytes_of(card.pack());
  const JobCard of_rank{.rank = 1,
                        .epoch = kEpoch + 1,
                        .value_bytes_max = kValueBytesMaxDefault,
                        .transport = "ofi-tcp",
                        .daemons = {card}};
  examples["job-card"] = bytes_of(of_rank.pack());

  size_t first = job.tape.posts.size();
  (void)client.submit_put("distance", "hello", 0, {.flags = 7, .ttl_ms = 60'000});
  (void)client.submit_get("distance", 0);
  job.settle();
  examples["calls"] = job.batch(first, 0);
  examples["answers"] = job.batch(first, 1);

  first = job.tape.posts.size();
  (void)client.submit_put("distance", client.reserve(5000), 0);
  job.settle();
  examples["large-put"] = job.batch(first, 0);

  show_session(job, examples);
  first = job.tape.posts.size();
  job.clock.advance_ns(300'000'000);
  job.settle();
  for (size_t at = first; at < job.tape.posts.size(); ++at) {
    const TapedPost& post = job.tape.posts[at];
    if (post.from == 1 && post.bytes.size() == sizeof(uint64_t)) {
      examples["credit"] = bytes_of(post.bytes);
    }
  }
}

#define FIELD(type, name)                                                           \
  Cells {                                                                           \
    std::to_string(offsetof(type, name)), std::to_string(sizeof(type::name)), #name \
  }

std::map<std::string, std::vector<Cells>> wire_fields() {
  using H = copyrpc::Hello;
  using B = copyrpc::BatchHeader;
  using M = copyrpc::MessageHeader;
  using R = RemoteRequestHead;
  using A = RemoteAnswerHead;
  using copyrpc::Credit;
  using copyrpc::RemoteMemory;
  return {
      {"RemoteMemory",
       {FIELD(RemoteMemory, address), FIELD(RemoteMemory, key), FIELD(RemoteMemory, bytes)}},
      {"Hello",
       {FIELD(H, magic), FIELD(H, version), FIELD(H, leaving), FIELD(H, session),
        FIELD(H, seen_session), FIELD(H, incarnation), FIELD(H, for_incarnation), FIELD(H, ring),
        FIELD(H, ring_bytes), FIELD(H, message_bytes_max), FIELD(H, batches_max), FIELD(H, sender),
        FIELD(H, tag), FIELD(H, over_session), FIELD(H, checksum)}},
      {"BatchHeader",
       {FIELD(B, batch_bytes), FIELD(B, message_count), FIELD(B, version), FIELD(B, session),
        FIELD(B, number), FIELD(B, released), FIELD(B, call_count), FIELD(B, reserved),
        FIELD(B, reserved2)}},
      {"MessageHeader",
       {FIELD(M, payload_bytes), FIELD(M, kind), FIELD(M, reserved), FIELD(M, answer_room),
        FIELD(M, id)}},
      {"Credit", {FIELD(Credit, released), FIELD(Credit, beat)}},
      {"RemoteRequestHead",
       {FIELD(R, op), FIELD(R, mode), FIELD(R, key_bytes), FIELD(R, value_bytes),
        FIELD(R, argument), FIELD(R, user_flags), FIELD(R, ttl_ms)}},
      {"RemoteAnswerHead",
       {FIELD(A, status), FIELD(A, in_room), FIELD(A, reserved), FIELD(A, value_bytes),
        FIELD(A, version), FIELD(A, user_flags), FIELD(A, reserved2)}},
  };
}
#undef FIELD

}  // namespace copykv::test
