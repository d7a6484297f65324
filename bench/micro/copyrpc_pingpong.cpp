// SPDX-License-Identifier: Apache-2.0
// What copyrpc adds to the network under it: two nodes without clients, an echo of 8 bytes, against
// bare libfabric over the same provider, in turns in one run.
//
//   copyrpc_pingpong [--provider tcp|shm|NAME] [--rounds N] [--runs R]   one at a time
//   copyrpc_pingpong --depth 128                                       many in flight, by policy
//   copyrpc_pingpong --bytes 1200000                                   one-sided transfers
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
#include "bench/micro/node_end.hpp"

namespace {

using namespace copykv;
using namespace copykv::bench;
using copyrpc::FlushPolicy;

struct Spec {
  copyrpc::OfiOptions options;
  uint32_t rounds = 20'000;
  uint32_t runs = 5;
  uint32_t depth = 0;
  uint32_t bytes = 0;
};

/// A node over an endpoint of libfabric.
[[nodiscard]] std::string open(End& end, const Spec& spec, bool is_child,
                               const FlushPolicy& flush) {
  copyrpc::OfiOptions options = spec.options;
  options.peers_max = 2;
  auto made = copyrpc::make_ofi_fabric(options);
  if (!made) return made.error;
  return end.open(std::move(*made), spec.bytes, is_child, flush);
}

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
  if (std::string error = open(end, spec, duo.is_child(), {}); !error.empty()) return error;
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
    if (std::string error = open(ends[at], spec, duo.is_child(), *policy); !error.empty()) {
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
