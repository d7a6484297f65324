// SPDX-License-Identifier: Apache-2.0
// How much of the slots' speed is left after a real map has been put behind them: one client at
// depth 64 against the bare loop of bare_loop.hpp, in turn, in one run.
//
//   bare_slots [--keys N] [--depth Q] [--rounds R] [--seconds S] [--goal RATIO]
//
// Prints both rates (medians of the rounds) and their ratio; exit 1 when a goal was given and
// missed.
#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include <copykv/client.hpp>

#include "base/clock.hpp"
#include "base/program.hpp"
#include "base/random.hpp"
#include "bench/keys.hpp"
#include "bench/local_rank.hpp"
#include "bench/micro/bare_loop.hpp"

namespace {

using namespace copykv;
using namespace copykv::bench;

struct Spec {
  uint32_t keys = 1024;
  uint32_t depth = 64;
  uint32_t rounds = 7;
  double seconds = 0.5;
  double goal = 0;
};

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);  // one core only: both share it
}

double run_bare(BareLoop& loop, const Spec& spec) {
  uint32_t stop = 0;
  std::thread server([&] {
    pin(0);
    loop.serve(stop);
  });
  const double rate = loop.drive(static_cast<uint64_t>(spec.seconds * 1e9));
  publish<uint32_t>(stop, 1);
  server.join();
  return rate;
}

double run_copykv(Client& client, const Spec& spec) {
  const SystemClock clock;
  Random random(1);
  std::array<Completion, kQueueDepthMax> completions;
  const auto duration_ns = static_cast<uint64_t>(spec.seconds * 1e9);
  const uint64_t start_ns = clock.now_ns();
  uint64_t now_ns = start_ns;
  uint64_t done = 0;
  while (now_ns - start_ns < duration_ns) {
    for (uint32_t round = 0; round < 4096; ++round) {
      while (client.in_flight() < spec.depth) {
        const uint64_t index = random.below(spec.keys);
        const uint64_t digits = hex_digits(static_cast<uint32_t>(index));
        const std::string_view key(reinterpret_cast<const char*>(&digits), 8);
        if (client.submit_get(key, index) != Status::ok) return 0;
      }
      const size_t taken = client.poll(completions);
      for (size_t at = 0; at < taken; ++at) {
        const Completion& completion = completions[at];
        uint64_t value;
        if (!completion.result.ok() || completion.result.value.size() != sizeof(value)) return 0;
        std::memcpy(&value, completion.result.value.data(), sizeof(value));
        if (value != ~completion.tag) return 0;
      }
      done += taken;
    }
    now_ns = clock.now_ns();
  }
  while (client.in_flight() > 0) done += client.wait(completions);
  return static_cast<double>(done) * 1e9 / static_cast<double>(clock.now_ns() - start_ns);
}

[[nodiscard]] bool preload(Client& client, uint32_t keys) {
  for (uint64_t index = 0; index < keys; ++index) {
    const uint64_t value = ~index;
    const uint64_t digits = hex_digits(static_cast<uint32_t>(index));
    const std::string_view key(reinterpret_cast<const char*>(&digits), 8);
    if (!client.put(key, {reinterpret_cast<const char*>(&value), 8}).ok()) return false;
  }
  return true;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int compare(const Spec& spec) {
  ::setenv("COPYKV_PIN", "0", 1);  // as the bare server
  RankSpec rank_spec;
  rank_spec.memory_bytes = std::max<uint64_t>(uint64_t{64} << 20, uint64_t{spec.keys} * 128);
  rank_spec.wait = "spin";
  auto rank = LocalRank::start(rank_spec, [] { return std::string(); });
  if (!rank) {
    fmt::print(stderr, "bare_slots: {}\n", rank.error);
    return 1;
  }
  Options options;
  options.runtime_dir = rank->runtime_dir();
  options.job = rank_spec.job;
  options.queue_depth = spec.depth;
  options.wait = Wait::spin;
  auto attached = Client::attach(options);
  if (!attached.client) {
    fmt::print(stderr, "bare_slots: {}\n", attached.error);
    return 1;
  }
  if (!preload(*attached.client, spec.keys)) {
    fmt::print(stderr, "bare_slots: a put failed; raise the memory of the machine\n");
    return 1;
  }
  pin(1);
  BareLoop loop(spec.keys, spec.depth);
  std::vector<double> bare_rates;
  std::vector<double> rates;
  std::vector<double> ratios;
  for (uint32_t round = 0; round < spec.rounds; ++round) {
    bare_rates.push_back(run_bare(loop, spec));
    rates.push_back(run_copykv(*attached.client, spec));
    if (bare_rates.back() == 0 || rates.back() == 0) {
      fmt::print(stderr, "bare_slots: a wrong value\n");
      return 1;
    }
    ratios.push_back(rates.back() / bare_rates.back());
  }
  const double ratio = median(ratios);
  fmt::print(
      "{} keys, depth {}, {} rounds in turn: bare loop {:.1f} M/s, copykv {:.1f} M/s, ratio {:.2f} "
      "({:.2f} to {:.2f})\n",
      spec.keys, spec.depth, spec.rounds, median(bare_rates) / 1e6, median(rates) / 1e6, ratio,
      *std::min_element(ratios.begin(), ratios.end()),
      *std::max_element(ratios.begin(), ratios.end()));
  return spec.goal > 0 && ratio < spec.goal ? 1 : 0;
}

int run(int argc, char** argv) {
  CLI::App app("bare_slots: copykv against a bare loop over the same lines");
  Spec spec;
  app.add_option("--keys", spec.keys, "keys")->check(CLI::Range(1, 1 << 28));
  app.add_option("--depth", spec.depth, "queue depth")->check(CLI::Range(1, 64));
  app.add_option("--rounds", spec.rounds, "rounds of each")->check(CLI::Range(1, 1000));
  app.add_option("--seconds", spec.seconds, "seconds of each round");
  app.add_option("--goal", spec.goal, "least ratio; below it the exit code is 1");
  CLI11_PARSE(app, argc, argv);
  return compare(spec);
}

}  // namespace

int main(int argc, char** argv) {
  return copykv::run_program("bare_slots", run, argc, argv);
}
