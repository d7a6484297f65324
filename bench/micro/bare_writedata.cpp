// SPDX-License-Identifier: Apache-2.0
// How fast libfabric is on this machine without copyrpc: the floor that copyrpc is held against.
//
//   bare_writedata [--provider tcp|shm|NAME] [--node ADDRESS] [--rounds N] [--runs R] [--bytes B]
//
// Two pinned processes. Prints per run the round trip of 8 bytes by fi_writedata (p50, p99), the
// cost of a poll that finds nothing, and with --bytes the bandwidth of fi_writes of that size.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/program.hpp"
#include "bench/micro/bare_fabric.hpp"
#include "bench/micro/duo.hpp"

namespace {

using namespace copykv;
using namespace copykv::bench;

constexpr uint64_t kStreamBytes = uint64_t{1} << 30;

struct Spec {
  copyrpc::OfiOptions options;
  uint32_t rounds = 20'000;
  uint32_t runs = 3;
  uint32_t bytes = 0;
};

[[nodiscard]] bool run(const Spec& spec, Duo& duo, BareFabric& fabric) {
  Histogram round_trip_ns;
  if (!duo.meet()) return false;
  if (duo.is_child()) return fabric.serve(spec.rounds) && (spec.bytes == 0 || fabric.serve(1));
  if (!fabric.ping(spec.rounds, round_trip_ns)) return false;
  fmt::print("{}: round trip of 8 B p50 {} ns, p99 {} ns", fabric.provider(),
             round_trip_ns.percentile_ns(50), round_trip_ns.percentile_ns(99));
  if (spec.bytes > 0) {
    const auto count = static_cast<uint32_t>(kStreamBytes / spec.bytes + 1);
    const double rate = fabric.stream(count, spec.bytes);
    if (rate == 0) return false;
    fmt::print("; {} B writes {:.2f} GB/s", spec.bytes, rate / 1e9);
  }
  fmt::print("; empty poll {:.0f} ns\n", fabric.empty_poll_ns());
  return true;
}

int measure(const Spec& spec) {
  Duo duo;
  if (!duo.ok()) return 1;
  const auto fail = [&](const std::string& why) {
    fmt::print(stderr, "bare_writedata: {}\n", why);
    return 1;
  };
  auto fabric = BareFabric::open(spec.options, std::max(spec.bytes, 4096U));
  if (!fabric) return duo.is_child() ? 1 : fail(fabric.error);
  if (auto up = (*fabric)->connect(duo.exchange((*fabric)->card())); !up) return fail(up.error);
  for (uint32_t at = 0; at < spec.runs; ++at)
    if (!run(spec, duo, **fabric)) return fail("the connection broke");
  return duo.meet() ? 0 : 1;
}

int program(int argc, char** argv) {
  Spec spec;
  CLI::App app{"The bare libfabric round trip and bandwidth"};
  app.add_option("--provider", spec.options.provider, "tcp, shm, or a libfabric provider");
  app.add_option("--node", spec.options.node, "address to bind to (default: 127.0.0.1)");
  app.add_option("--rounds", spec.rounds, "round trips per run");
  app.add_option("--runs", spec.runs, "runs");
  app.add_option("--bytes", spec.bytes, "also stream writes of that size");
  CLI11_PARSE(app, argc, argv);
  if (spec.options.node.empty() && spec.options.provider != "shm") spec.options.node = "127.0.0.1";
  return measure(spec);
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("bare_writedata", program, argc, argv);
}
