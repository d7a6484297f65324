// SPDX-License-Identifier: Apache-2.0
// What copyrpc adds to the network under it: two nodes without clients, an echo of 8 bytes, against
// bare libfabric over the same provider, in turns in one run.
//
//   copyrpc_pingpong [--provider tcp|shm|NAME] [--rounds N] [--runs R]     round trip, one at a
//   time copyrpc_pingpong --depth 128                                          many in flight, by
//   policy copyrpc_pingpong --bytes 1200000                                      one-sided
//   transfers
//
// Two pinned processes. The figure to look at is the ratio: both sides of it are of the same run.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <CLI/CLI.hpp>

#include "base/program.hpp"
#include "bench/micro/bare_fabric.hpp"
#include "bench/micro/duo.hpp"
#include "copyrpc/node.hpp"

namespace {

using namespace copykv;
using namespace copykv::bench;
using copyrpc::Answer;
using copyrpc::Fabric;
using copyrpc::FlushPolicy;
using copyrpc::InboundCall;
using copyrpc::Node;

constexpr uint64_t kNeverNs = 3600 * kNanosPerSecond;
constexpr uint32_t kPieceBytes = 256 * 1024;
constexpr uint32_t kPiecesOut = 4;

struct Spec {
  copyrpc::OfiOptions options;
  uint32_t rounds = 20'000;
  uint32_t runs = 5;
  uint32_t depth = 0;
  uint32_t bytes = 0;
};

/// One end: a node over an endpoint of its own. Node 0 calls, node 1 serves.
struct End {
  SystemClock clock;
  std::unique_ptr<Fabric> fabric;
  std::unique_ptr<Node> node;
  std::vector<std::byte> bulk;
  copyrpc::Memory bulk_memory{};
  copyrpc::RemoteMemory theirs{};

  [[nodiscard]] std::string open(const Spec& spec, bool is_child, const FlushPolicy& flush) {
    copyrpc::OfiOptions options = spec.options;
    options.peers_max = 2;
    auto made = copyrpc::make_ofi_fabric(options);
    if (!made) return made.error;
    fabric = std::move(*made);
    copyrpc::NodeOptions with;
    with.node = is_child ? 1 : 0;
    with.nodes = 2;
    with.incarnation = clock.now_ns();
    with.ring_bytes = 1U << 20;
    with.flush = flush;
    with.peer_timeout_ns = kNeverNs;
    with.call_timeout_ns = kNeverNs;
    auto node_made = Node::create(with, *fabric, clock);
    if (!node_made) return node_made.error;
    node = std::move(*node_made);
    bulk.resize(std::max(spec.bytes, 4096U));
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
    std::array<InboundCall, 16> calls;
    bool stop = false;
    while (!stop || node->busy()) {
      (void)node->poll();
      std::array<Answer, 1> none;
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
    const uint64_t payload = word;
    return node->call(1, {reinterpret_cast<const std::byte*>(&payload), bytes}, 8, {{word, 0}}) ==
           Node::Sent::accepted;
  }
  uint32_t turn(std::span<Answer> answers) {
    (void)node->poll();
    return node->take_answers(answers);
  }
  void stop_server() {
    std::array<Answer, 1> answer;
    while (!call(1, 0)) node->flush();
    node->flush();
    while (turn(answer) == 0) node->flush();
  }

  void ping(uint32_t rounds, Histogram& histogram) {
    std::array<Answer, 4> answers;
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
  [[nodiscard]] Stream stream(uint32_t depth, uint32_t count) {
    std::array<Answer, 64> answers;
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
      while (sent < count && sent - done < depth && call(8, now_ns)) ++sent;
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
            Fabric::Posted::yes) {
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
    std::array<Answer, 1> answer;
    (void)call(8, 1);
    node->flush();
    while (turn(answer) == 0) node->flush();
    return static_cast<double>(count) * value_bytes * 1e9 /
           static_cast<double>(clock.now_ns() - began_ns);
  }
};

[[nodiscard]] double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Values in slices, bare and ours in turns, each first in every second slice: what disturbs the
/// machine for longer than a slice disturbs both. Appends each slice's ratio.
void compare_transfers(const Spec& spec, Duo& duo, End& end, BareFabric& bare,
                       std::vector<double>& ratios) {
  constexpr uint32_t kSlices = 8;
  const uint32_t values = (1U << 27) / spec.bytes + 1;
  std::vector<double> bare_rates;
  std::vector<double> rates;
  for (uint32_t turn = 0; turn < 2 * kSlices; ++turn) {
    const bool ours = (turn % 2 == 0) == (turn / 2 % 2 == 0);
    if (!duo.meet()) return;  // a server goes on for a while after its last answer
    if (duo.is_child()) {
      if (ours) {
        end.serve();
      } else if (!bare.serve(1)) {
        return;
      }
    } else if (ours) {
      rates.push_back(end.transfer(values));
      end.stop_server();
    } else {
      bare_rates.push_back(bare.stream(values, spec.bytes));
    }
  }
  if (duo.is_child()) return;
  for (uint32_t slice = 0; slice < kSlices; ++slice) {
    ratios.push_back(rates[slice] / bare_rates[slice]);
  }
  fmt::print("; {} B values bare {:.2f} GB/s, copyrpc {:.2f} GB/s", spec.bytes,
             median(bare_rates) / 1e9, median(rates) / 1e9);
}

[[nodiscard]] std::string compare_round_trips(const Spec& spec, Duo& duo) {
  End end;
  if (std::string error = end.open(spec, duo.is_child(), {}); !error.empty()) return error;
  if (std::string error = end.connect(duo); !error.empty()) return error;
  auto bare = BareFabric::open(spec.options, std::max(spec.bytes, 4096U));
  if (!bare) return bare.error;
  if (auto up = (*bare)->connect(duo.exchange((*bare)->card())); !up) return up.error;
  std::vector<double> ratios;
  std::vector<double> transfer_ratios;
  for (uint32_t run = 0; run < spec.runs; ++run) {
    if (!duo.meet()) return "the other side is gone";
    if (duo.is_child()) {
      if (!(*bare)->serve(spec.rounds)) return "it broke";
      end.serve();
    } else {
      Histogram bare_ns;
      Histogram ours_ns;
      if (!(*bare)->ping(spec.rounds, bare_ns)) return "the bare connection broke";
      end.ping(spec.rounds, ours_ns);
      end.stop_server();
      const auto ours = static_cast<double>(ours_ns.percentile_ns(50));
      ratios.push_back(ours / static_cast<double>(bare_ns.percentile_ns(50)));
      fmt::print("{}: round trip p50 bare {} ns, copyrpc {:.0f} ns, ratio {:.3f}",
                 end.fabric->name(), bare_ns.percentile_ns(50), ours, ratios.back());
    }
    if (spec.bytes > 0) compare_transfers(spec, duo, end, **bare, transfer_ratios);
    if (!duo.is_child()) fmt::print("\n");
  }
  if (duo.is_child()) return {};
  fmt::print("round trip: median ratio {:.3f}\n", median(ratios));
  if (spec.bytes > 0) {
    const auto [least, most] = std::minmax_element(transfer_ratios.begin(), transfer_ratios.end());
    fmt::print("values: median ratio {:.3f} of {} slices, {:.3f} to {:.3f}\n",
               median(transfer_ratios), transfer_ratios.size(), *least, *most);
  }
  return {};
}

[[nodiscard]] std::string compare_policies(const Spec& spec, Duo& duo) {
  constexpr std::array<const char*, 5> kPolicies = {"clocked", "loop", "call", "hold:5",
                                                    "clocked:2"};
  std::array<End, kPolicies.size()> ends;
  for (size_t at = 0; at < ends.size(); ++at) {
    const auto policy = FlushPolicy::parse(kPolicies[at]);
    if (std::string error = ends[at].open(spec, duo.is_child(), *policy); !error.empty()) {
      return error;
    }
    if (std::string error = ends[at].connect(duo); !error.empty()) return error;
  }
  for (uint32_t run = 0; run < spec.runs; ++run) {
    for (size_t at = 0; at < ends.size(); ++at) {
      if (!duo.meet()) return "the other side is gone";
      if (duo.is_child()) {
        ends[at].serve();
        continue;
      }
      Histogram lone_ns;
      ends[at].ping(spec.rounds / 4, lone_ns);
      const double lone = 1e9 / lone_ns.mean_ns();
      const End::Stream many = ends[at].stream(spec.depth, spec.rounds * 10);
      ends[at].stop_server();
      fmt::print(
          "{:<10} one: p50 {:>6} ns, {:>7.0f}/s   {} in flight: {:>9.0f}/s ({:.1f} x), p50 "
          "{} ns, {:.1f} messages a batch\n",
          kPolicies[at], lone_ns.percentile_ns(50), lone, spec.depth, many.per_second,
          many.per_second / lone, many.p50_ns, many.per_batch);
    }
  }
  return {};
}

int program(int argc, char** argv) {
  Spec spec;
  CLI::App app{"copyrpc against bare libfabric, and its flush policies against each other"};
  app.add_option("--provider", spec.options.provider, "tcp, shm, or a libfabric provider");
  app.add_option("--node", spec.options.node, "address to bind to (default: 127.0.0.1)");
  app.add_option("--rounds", spec.rounds, "round trips per run")
      ->check(CLI::Range(100, 10'000'000));
  app.add_option("--runs", spec.runs, "runs")->check(CLI::Range(1, 1000));
  app.add_option("--depth", spec.depth, "calls in flight; compares the flush policies");
  app.add_option("--bytes", spec.bytes, "also transfers values of that size");
  CLI11_PARSE(app, argc, argv);
  if (spec.options.node.empty() && spec.options.provider != "shm") spec.options.node = "127.0.0.1";
  Duo duo;
  const std::string error =
      spec.depth > 0 ? compare_policies(spec, duo) : compare_round_trips(spec, duo);
  if (error.empty()) return duo.meet() ? 0 : 1;
  fmt::print(stderr, "copyrpc_pingpong: {}\n", error);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("copyrpc_pingpong", program, argc, argv);
}
