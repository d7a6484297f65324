// SPDX-License-Identifier: Apache-2.0
// What the micro-benchmarks of copyrpc measure: a node without clients, which calls or echoes.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/histogram.hpp"
#include "bench/micro/duo.hpp"
#include "copyrpc/node.hpp"

namespace copykv::bench {

inline constexpr uint64_t kNeverNs = 3600 * kNanosPerSecond;
inline constexpr uint32_t kPieceBytes = 256 * 1024;
inline constexpr uint32_t kPiecesOut = 4;
inline constexpr uint32_t kPayloadBytesMax = 64;

/// One end: a node over an endpoint of its own. copyrpc::Node 0 calls, node 1 serves.
struct End {
  SystemClock clock;
  std::unique_ptr<copyrpc::Fabric> fabric;
  std::unique_ptr<copyrpc::Node> node;
  std::vector<std::byte> bulk;
  copyrpc::Memory bulk_memory{};
  copyrpc::RemoteMemory theirs{};

  /// `bulk_bytes`: of the memory for transfers. Empty, or what went wrong.
  [[nodiscard]] std::string open(std::unique_ptr<copyrpc::Fabric> over, uint32_t bulk_bytes,
                                 bool is_child, const copyrpc::FlushPolicy& flush) {
    fabric = std::move(over);
    copyrpc::NodeOptions with;
    with.node = is_child ? 1 : 0;
    with.nodes = 2;
    with.incarnation = clock.now_ns();
    with.ring_bytes = 1U << 20;
    with.flush = flush;
    with.peer_timeout_ns = kNeverNs;
    with.call_timeout_ns = kNeverNs;
    auto node_made = copyrpc::Node::create(with, *fabric, clock);
    if (!node_made) return node_made.error;
    node = std::move(*node_made);
    bulk.resize(std::max(bulk_bytes, 4096U));
    auto memory =
        fabric->register_memory(bulk.data(), bulk.size(), copyrpc::Access::remote_read_write);
    if (!memory) return memory.error;
    bulk_memory = *memory;
    return {};
  }
  [[nodiscard]] std::string connect(Duo& duo) {
    const std::string card = duo.exchange(node->card().pack());
    auto unpacked = copyrpc::Card::unpack(card);
    if (!unpacked) return unpacked.error;
    const std::string where(reinterpret_cast<const char*>(&bulk_memory.remote), sizeof(theirs));
    const std::string there = duo.exchange(where);
    if (there.size() != sizeof(theirs)) return "the other side is gone";
    std::memcpy(&theirs, there.data(), sizeof(theirs));
    node->set_peer(*unpacked);
    const uint64_t end_ns = clock.now_ns() + 5 * kNanosPerSecond;
    while (node->peers_up() == 0) {
      if (clock.now_ns() > end_ns) return "the nodes do not come up";
      (void)node->poll();
      node->tick(clock.now_ns());
    }
    return duo.meet() ? "" : "the other side is gone";
  }
  ~End() {
    node.reset();
    if (bulk_memory.registered()) fabric->deregister(bulk_memory);
  }

  /// Echoes until a call says stop.
  void serve() {
    std::array<copyrpc::InboundCall, 16> calls;
    bool stop = false;
    while (!stop || node->busy()) {
      (void)node->poll();
      std::array<copyrpc::Answer, 1> none;
      (void)node->take_answers(none);
      const uint32_t count = node->take_calls(calls);
      for (uint32_t index = 0; index < count; ++index) {
        stop = stop || calls[index].payload_bytes == 1;
        node->reply(calls[index], {calls[index].payload, calls[index].payload_bytes});
      }
      node->flush();
    }
    // What was said last must get out.
    const uint64_t end_ns = clock.now_ns() + 20 * kNanosPerMilli;
    while (clock.now_ns() < end_ns) {
      (void)node->poll();
      node->flush();
    }
  }
  [[nodiscard]] bool call(uint32_t bytes, uint64_t word) {
    const std::array<uint64_t, kPayloadBytesMax / 8> payload = {word};
    return node->call(1, {reinterpret_cast<const std::byte*>(payload.data()), bytes},
                      std::max(bytes, 8U), {{word, 0}}) == copyrpc::Node::Sent::accepted;
  }
  uint32_t turn(std::span<copyrpc::Answer> answers) {
    (void)node->poll();
    return node->take_answers(answers);
  }
  void stop_server() {
    std::array<copyrpc::Answer, 1> answer;
    while (!call(1, 0)) node->flush();
    node->flush();
    while (turn(answer) == 0) node->flush();
  }

  void ping(uint32_t rounds, Histogram& histogram) {
    std::array<copyrpc::Answer, 4> answers;
    for (uint32_t round = 0; round < rounds; ++round) {
      const uint64_t began_ns = clock.now_ns();
      (void)call(8, round + 1);
      node->flush();
      while (turn(answers) == 0) node->flush();  // a policy may wait before it posts
      histogram.record(clock.now_ns() - began_ns);
    }
  }

  struct Stream {
    double per_second;
    double per_batch;
    uint64_t p50_ns;
  };
  [[nodiscard]] Stream stream(uint32_t depth, uint32_t count, uint32_t payload_bytes = 8) {
    std::array<copyrpc::Answer, 64> answers;
    Histogram histogram;
    const copyrpc::NodeCounters before = node->counters();
    const uint64_t began_ns = clock.now_ns();
    uint32_t sent = 0;
    uint32_t done = 0;
    while (done < count) {
      const uint32_t taken = turn(answers);
      const uint64_t now_ns = clock.now_ns();
      for (uint32_t index = 0; index < taken; ++index) {
        histogram.record(now_ns - answers[index].tag.words[0]);
      }
      done += taken;
      while (sent < count && sent - done < depth && call(payload_bytes, now_ns)) ++sent;
      node->flush();
    }
    const double seconds = static_cast<double>(clock.now_ns() - began_ns) / 1e9;
    const copyrpc::NodeCounters& after = node->counters();
    return {count / seconds,
            static_cast<double>(after.messages_sent - before.messages_sent) /
                static_cast<double>(after.batches_sent - before.batches_sent),
            histogram.percentile_ns(50)};
  }

  /// Values of bulk.size() bytes in pieces, as the daemon moves them. Bytes per second.
  [[nodiscard]] double transfer(uint32_t count) {
    const auto value_bytes = static_cast<uint32_t>(bulk.size());
    std::array<copyrpc::TransferEnd, 16> ends;
    uint32_t out = 0;
    uint32_t offset = 0;
    uint32_t values = 0;
    const uint64_t began_ns = clock.now_ns();
    while (values < count || out > 0) {
      while (values < count && out < kPiecesOut) {
        const uint32_t bytes = std::min(kPieceBytes, value_bytes - offset);
        if (node->write(1, {&bulk_memory, offset, bytes}, theirs.at(offset), 0) !=
            copyrpc::Fabric::Posted::yes) {
          break;
        }
        ++out;
        offset += bytes;
        if (offset == value_bytes) {
          offset = 0;
          ++values;
        }
      }
      node->flush();
      (void)node->poll();
      out -= node->take_transfers(ends);
    }
    // A call behind it: everything has landed when it is answered.
    std::array<copyrpc::Answer, 1> answer;
    (void)call(8, 1);
    node->flush();
    while (turn(answer) == 0) node->flush();
    return static_cast<double>(count) * value_bytes * 1e9 /
           static_cast<double>(clock.now_ns() - began_ns);
  }
};

}  // namespace copykv::bench
