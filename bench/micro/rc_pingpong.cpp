// SPDX-License-Identifier: Apache-2.0
// What copyrpc adds to plain verbs, and what its batches save: two nodes without clients over `rc`
// or `dc` against one WRITE with immediate of a reliable connection for each message, in turns in
// one run.
//
//   rc_pingpong [--devices rxe0,rxe1] [--rounds N] [--runs R] [--depth 32] [--bytes 64]
//   rc_pingpong --listen                on one host, first
//   rc_pingpong --peer HOST             on the other; prints
//
// On one machine two pinned processes, each on a device of its own where two are named. The figures
// to look at are the ratios: both sides of them are of the same run.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/program.hpp"
#include "bench/micro/bare_verbs.hpp"
#include "bench/micro/duo.hpp"
#include "bench/micro/node_end.hpp"

namespace {

using namespace copykv;
using namespace copykv::bench;

struct Spec {
  std::string transport = "rc";
  Places places{};
  copyrpc::VerbsOptions verbs{};
  std::vector<std::string> devices{};
  uint32_t rounds = 2'000;
  uint32_t runs = 5;
  uint32_t depth = 32;
  uint32_t bytes = 64;
  uint32_t values = 0;
  uint32_t value_bytes = 1U << 20;
  std::string json_path;
};

[[nodiscard]] double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Pair {
  End end;
  BareVerbs bare;

  [[nodiscard]] std::string open(const Spec& spec, Duo& duo) {
    copyrpc::VerbsOptions options = spec.verbs;
    options.peers_max = 2;
    if (!spec.devices.empty())
      options.device = spec.devices[duo.is_child() ? spec.devices.size() - 1 : 0];
    auto fabric = spec.transport == "dc" ? copyrpc::make_dc_fabric(options)
                                         : copyrpc::make_rc_fabric(options);
    if (!fabric) return fabric.error;
    const uint32_t bulk_bytes = spec.values == 0 ? 0 : spec.value_bytes;
    std::string error = end.open(std::move(*fabric), bulk_bytes, duo.is_child(), {});
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
  if (spec.values > 0) pair.end.serve();
  return {};
}

/// Of each run.
struct Figures {
  std::vector<double> round_trip_us;
  std::vector<double> bare_round_trip_us;
  std::vector<double> round_trip_ratio;
  std::vector<double> messages_per_second;
  std::vector<double> bare_messages_per_second;
  std::vector<double> rate_ratio;
  std::vector<double> bulk_bytes_per_second;
};

[[nodiscard]] std::string measure(const Spec& spec, Duo& duo, Pair& pair, Figures& figures) {
  constexpr const char* kBroke = "the bare connection broke";
  Histogram bare_ns;
  Histogram ours_ns;
  if (!duo.meet() || !pair.bare.ask(1, spec.rounds, 8, &bare_ns)) return kBroke;
  pair.end.ping(spec.rounds, ours_ns);
  pair.end.stop_server();
  const double ours_us = static_cast<double>(ours_ns.percentile_ns(50)) / 1e3;
  const double bare_us = static_cast<double>(bare_ns.percentile_ns(50)) / 1e3;
  figures.round_trip_us.push_back(ours_us);
  figures.bare_round_trip_us.push_back(bare_us);
  figures.round_trip_ratio.push_back(ours_us / bare_us);

  const uint32_t count = spec.rounds * 4;
  if (!duo.meet()) return kBroke;
  const uint64_t began_ns = SystemClock().now_ns();
  if (!pair.bare.ask(spec.depth, count, spec.bytes, nullptr)) return kBroke;
  const double bare_rate = count * 1e9 / static_cast<double>(SystemClock().now_ns() - began_ns);
  const End::Stream many = pair.end.stream(spec.depth, count, spec.bytes);
  pair.end.stop_server();
  figures.messages_per_second.push_back(many.per_second);
  figures.bare_messages_per_second.push_back(bare_rate);
  figures.rate_ratio.push_back(many.per_second / bare_rate);
  fmt::print(
      "round trip p50 bare {:.1f} us, copyrpc {:.1f} us, ratio {:.2f}; {} B, {} in flight: bare "
      "{:.0f}/s, copyrpc {:.0f}/s, ratio {:.1f}, {:.1f} messages a batch\n",
      bare_us, ours_us, ours_us / bare_us, spec.bytes, spec.depth, bare_rate, many.per_second,
      many.per_second / bare_rate, many.per_batch);
  if (spec.values == 0) return {};
  figures.bulk_bytes_per_second.push_back(pair.end.transfer(spec.values));
  pair.end.stop_server();
  fmt::print("values of {} B: {:.0f} MB/s\n", spec.value_bytes,
             figures.bulk_bytes_per_second.back() / 1e6);
  return {};
}

void write_json(const Spec& spec, const Figures& figures) {
  const nlohmann::json document = {
      {"transport", spec.transport},
      {"bytes", spec.bytes},
      {"depth", spec.depth},
      {"round_trip_us", median(figures.round_trip_us)},
      {"bare_round_trip_us", median(figures.bare_round_trip_us)},
      {"round_trip_ratio", median(figures.round_trip_ratio)},
      {"messages_per_second", median(figures.messages_per_second)},
      {"bare_messages_per_second", median(figures.bare_messages_per_second)},
      {"rate_ratio", median(figures.rate_ratio)},
      {"bulk_bytes_per_second", median(figures.bulk_bytes_per_second)}};
  std::ofstream file(spec.json_path);
  file << document.dump(2) << '\n';
  if (!file.flush()) throw std::runtime_error("cannot write " + spec.json_path);
}

void play(const Spec& spec, Duo& duo) {
  Pair pair;
  Figures figures;
  std::string error = pair.open(spec, duo);
  for (uint32_t run = 0; run < spec.runs && error.empty(); ++run)
    error = duo.is_child() ? serve(spec, duo, pair) : measure(spec, duo, pair, figures);
  if (!error.empty()) throw std::runtime_error(error);
  if (!duo.is_child()) {
    fmt::print("medians: round trip ratio {:.2f}, rate ratio {:.1f}\n",
               median(figures.round_trip_ratio), median(figures.rate_ratio));
    if (!spec.json_path.empty()) write_json(spec, figures);
  }
  if (!duo.meet()) throw std::runtime_error("the other side is gone");
}

int program(int argc, char** argv) {
  Spec spec;
  CLI::App app{"copyrpc over rc or dc against plain verbs"};
  app.add_option("--transport", spec.transport)->check(CLI::IsMember({"rc", "dc"}));
  spec.places.add_to(app);
  app.add_option("--devices", spec.devices, "one, or one for each side")->delimiter(',');
  app.add_option("--port", spec.verbs.port, "of the device");
  app.add_option("--gid-index", spec.verbs.gid_index, "of the port");
  app.add_option("--address", spec.verbs.address, "address of this host to bind to");
  app.add_option("--rounds", spec.rounds, "round trips per run")->check(CLI::Range(100, 1'000'000));
  app.add_option("--runs", spec.runs, "runs")->check(CLI::Range(1, 1000));
  app.add_option("--depth", spec.depth, "calls in flight")->check(CLI::Range(1, 128));
  app.add_option("--bytes", spec.bytes, "of a call and of its answer")
      ->check(CLI::Range(8U, kPayloadBytesMax));
  app.add_option("--values", spec.values, "also so many one-sided writes of large values");
  app.add_option("--value-bytes", spec.value_bytes, "of each, moved in pieces of 256 KiB")
      ->check(CLI::Range(4096U, 1U << 26));
  app.add_option("--json", spec.json_path, "file to write the medians to");
  CLI11_PARSE(app, argc, argv);
  run_both(spec.places, [&](Duo& duo) { play(spec, duo); });
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("rc_pingpong", program, argc, argv);
}
