// SPDX-License-Identifier: Apache-2.0
// What copyrpc adds to plain verbs, and what its batches save: two nodes without clients over `rc`
// against one WRITE with immediate for each message, in turns in one run.
//
//   rc_pingpong [--devices rxe0,rxe1] [--rounds N] [--runs R] [--depth 32] [--bytes 64]
//
// Two pinned processes, each on a device of its own where two are named. The figures to look at are
// the ratios: both sides of them are of the same run.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/program.hpp"
#include "bench/micro/bare_verbs.hpp"
#include "bench/micro/duo.hpp"
#include "bench/micro/node_end.hpp"

namespace {

using namespace copykv;
using namespace copykv::bench;

struct Spec {
  std::vector<std::string> devices{};
  uint32_t rounds = 2'000;
  uint32_t runs = 5;
  uint32_t depth = 32;
  uint32_t bytes = 64;
};

[[nodiscard]] double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Pair {
  End end;
  BareVerbs bare;

  [[nodiscard]] std::string open(const Spec& spec, Duo& duo) {
    copyrpc::VerbsOptions options;
    options.peers_max = 2;
    if (!spec.devices.empty())
      options.device = spec.devices[duo.is_child() ? spec.devices.size() - 1 : 0];
    auto fabric = copyrpc::make_rc_fabric(options);
    if (!fabric) return fabric.error;
    std::string error = end.open(std::move(*fabric), 0, duo.is_child(), {});
    if (error.empty()) error = end.connect(duo);
    if (error.empty()) error = bare.open(options);
    if (error.empty() && !bare.connect(duo.exchange(bare.card())))
      error = "the bare queue pairs cannot be joined";
    return error;
  }
};

/// The child's part of one run.
[[nodiscard]] std::string serve(const Spec& spec, Duo& duo, Pair& pair) {
  constexpr const char* kBroke = "it broke";
  if (!duo.meet() || !pair.bare.echo(spec.rounds, 8)) return kBroke;
  pair.end.serve();
  if (!duo.meet() || !pair.bare.echo(spec.rounds * 4, spec.bytes)) return kBroke;
  pair.end.serve();
  return {};
}

struct Ratios {
  std::vector<double> round_trip;
  std::vector<double> rate;
};

[[nodiscard]] std::string measure(const Spec& spec, Duo& duo, Pair& pair, Ratios& ratios) {
  constexpr const char* kBroke = "the bare connection broke";
  Histogram bare_ns;
  Histogram ours_ns;
  if (!duo.meet() || !pair.bare.ask(1, spec.rounds, 8, &bare_ns)) return kBroke;
  pair.end.ping(spec.rounds, ours_ns);
  pair.end.stop_server();
  const auto ours = static_cast<double>(ours_ns.percentile_ns(50));
  const auto bare = static_cast<double>(bare_ns.percentile_ns(50));
  ratios.round_trip.push_back(ours / bare);

  const uint32_t count = spec.rounds * 4;
  if (!duo.meet()) return kBroke;
  const uint64_t began_ns = SystemClock().now_ns();
  if (!pair.bare.ask(spec.depth, count, spec.bytes, nullptr)) return kBroke;
  const double bare_rate = count * 1e9 / static_cast<double>(SystemClock().now_ns() - began_ns);
  const End::Stream many = pair.end.stream(spec.depth, count, spec.bytes);
  pair.end.stop_server();
  ratios.rate.push_back(many.per_second / bare_rate);
  fmt::print(
      "round trip p50 bare {:.1f} us, copyrpc {:.1f} us, ratio {:.2f}; {} B, {} in flight: bare "
      "{:.0f}/s, copyrpc {:.0f}/s, ratio {:.1f}, {:.1f} messages a batch\n",
      bare / 1e3, ours / 1e3, ratios.round_trip.back(), spec.bytes, spec.depth, bare_rate,
      many.per_second, ratios.rate.back(), many.per_batch);
  return {};
}

int program(int argc, char** argv) {
  Spec spec;
  CLI::App app{"copyrpc over rc against plain verbs"};
  app.add_option("--devices", spec.devices, "one, or one for each side")->delimiter(',');
  app.add_option("--rounds", spec.rounds, "round trips per run")->check(CLI::Range(100, 1'000'000));
  app.add_option("--runs", spec.runs, "runs")->check(CLI::Range(1, 1000));
  app.add_option("--depth", spec.depth, "calls in flight")->check(CLI::Range(1, 128));
  app.add_option("--bytes", spec.bytes, "of a call and of its answer")
      ->check(CLI::Range(8U, kPayloadBytesMax));
  CLI11_PARSE(app, argc, argv);
  Duo duo;
  Pair pair;
  Ratios ratios;
  std::string error = pair.open(spec, duo);
  for (uint32_t run = 0; run < spec.runs && error.empty(); ++run)
    error = duo.is_child() ? serve(spec, duo, pair) : measure(spec, duo, pair, ratios);
  if (!error.empty()) {
    fmt::print(stderr, "rc_pingpong: {}\n", error);
    return 1;
  }
  if (!duo.is_child())
    fmt::print("medians: round trip ratio {:.2f}, rate ratio {:.1f}\n", median(ratios.round_trip),
               median(ratios.rate));
  return duo.meet() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("rc_pingpong", program, argc, argv);
}
