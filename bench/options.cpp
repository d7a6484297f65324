// SPDX-License-Identifier: Apache-2.0
#include "bench/options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include <CLI/CLI.hpp>

#include "base/launcher.hpp"
#include "base/units.hpp"
#include "bench/key_map.hpp"
#include "bench/keys.hpp"
#include "bench/worker.hpp"
#include "shm/slot.hpp"

namespace copykv::bench {
namespace {

constexpr uint32_t kClientsMax = 1024;
constexpr uint32_t kRanksMax = 1024;
constexpr uint64_t kWritersMax = uint64_t{1}
                                 << 16;  ///< a value's stamp names its writer in 16 bits
constexpr uint64_t kSimDurationNs = 20 * kNanosPerMilli;
constexpr uint64_t kSimWarmupNs = kNanosPerMilli;
constexpr uint64_t kDurationNsMax = 24 * 3600 * kNanosPerSecond;

template <class T>
Settings::Check parses_as() {
  return [](const std::string& text) -> Outcome<void> {
    const auto made = T::parse(text);
    if (!made) return Failure{made.error};
    return {};
  };
}

void register_crew(Settings& settings, RunOptions& o) {
  settings.add("ranks", o.ranks, "ranks to start on this machine [under a launcher: its]",
               {1, kRanksMax});
  settings.add("daemon-threads", o.daemon_threads, "daemon threads of each rank", {1, 64});
  settings.add("client-threads", o.client_threads, "clients of each rank", {1, kClientsMax});
  settings.add("client-processes", o.client_processes, "clients are processes, not threads");
  settings.add("queue-depth", o.queue_depth, "operations that a client keeps in flight",
               {1, kQueueDepthMax});
  settings.add("attach", o.attach, "use a daemon that runs already");
  settings.add("runtime-dir", o.runtime_dir,
               "where the sockets are: with --attach or --rendezvous");
  settings.add("job", o.job, "with --attach: its job");
  settings.add("rank", o.rank, "with --attach: its rank; with --rendezvous: this one of --ranks");
  settings.add("rendezvous", o.rendezvous,
               "one benchkv per rank, started by hand or by a launcher: how their daemons meet, "
               "tcp://host:port, file:///dir or pmix [pmix under a launcher]");
  settings.add_choice<std::string>(
      "backend", o.backend,
      "null: no service at all, which shows what the load generator itself can do",
      {{"copykv", "copykv"}, {"null", "null"}});
  settings.add_bytes("memory", o.memory_bytes,
                     "memory limit of each rank; 0: from the number and size of the items");
  settings.add("transport", o.transport,
               "auto|sim|ofi-tcp|ofi-shm|ofi:<provider>|rc|dc, between ranks");
  settings.add("flush", o.flush, "loop|call|clocked[:K]|hold:US, between ranks");
  settings.add("sim-profile", o.sim_profile,
               "with --transport sim: what things cost, a profile by name or a .toml file");
  settings.add("sim-send-queues", o.sim_send_queues,
               "with --transport sim: send queues of each daemon; 0: as the profile says",
               {0, 1024});
  settings.add_duration("sim-start-skew", o.start_skew_ns,
                        "with --transport sim: each rank's clients begin so much later than those "
                        "of the rank before",
                        kNanosPerSecond, {0, kDurationNsMax});
  settings.add_duration(
      "peer-timeout", o.peer_timeout_ns,
      "silence after which a rank counts as failed: more than a daemon's default, "
      "since a benchmark may well put more threads than cores on a machine",
      kNanosPerSecond, {4 * kNanosPerMilli, 3600 * kNanosPerSecond});
  settings.add_choice<Wait>(
      "wait", o.wait, "how clients and daemon threads wait",
      {{"spin", Wait::spin}, {"adaptive", Wait::adaptive}, {"park", Wait::park}});
}

void register_load(Settings& settings, RunOptions& o) {
  settings.add("preset", o.preset,
               "defaults of a known load: ycsb-a, -b, -c, -d, -f, rtt-analysis (flag or "
               "environment only)");
  settings.add("key-range", o.key_range, "number of keys of each rank", {1, kKeyRangeMax});
  settings.add("key-bytes", o.key_bytes, "length of a key", {1, kKeyBytesMax});
  settings.add("value-bytes", o.value_bytes, "64, 16-4096 or 64:8,1024:2 (lengths with weights)",
               parses_as<ValueSizes>());
  settings.add("read-ratio", o.read_ratio, "share of gets among the operations", {0.0, 1.0});
  settings.add("modify", o.modify, "each write is a get and then a put of the same key");
  settings.add("distribution", o.distribution, "uniform, zipfian:THETA, latest or hotspot:SET,OPS",
               parses_as<Distribution>());
  settings.add("local-ratio", o.local_ratio, "share of operations on the own rank, or by-key");
  settings.add_choice<Arrival>("arrival", o.arrival,
                               "closed loop, or when an open loop starts its operations",
                               {{"closed", Arrival::closed},
                                {"constant", Arrival::constant},
                                {"poisson", Arrival::poisson}});
  settings.add("rate", o.rate, "open loop: operations per second of all clients of all ranks",
               {0.0, 1e10});
  settings.add_duration("duration", o.duration_ns, "length of a run", kNanosPerSecond,
                        {kNanosPerMilli, kDurationNsMax});
  settings.add_duration("warmup", o.warmup_ns, "load before the first run", kNanosPerSecond,
                        {0, kDurationNsMax});
  settings.add("runs", o.runs, "runs, reported one by one and together", {1, 10'000});
  settings.add("seed", o.seed, "client i draws from seed + rank * 1000 + i");
}

void register_report(Settings& settings, RunOptions& o) {
  settings.add_choice<bool>("verify", o.verify, "check every value read",
                            {{"all", true}, {"none", false}});
  settings.add(
      "stations", o.stations,
      "stamp every N-th request of a client to another rank on its way, and show where its "
      "time goes; 0: none",
      {0, 1U << 20});
  settings.add("slo", o.slo_texts, "objective such as get.p99<50us or all.ops>1M; repeatable",
               parses_as<Slo>());
  settings.add("json", o.json_path, "write the document (schema 1) there; - is stdout");
  settings.add("histograms", o.histograms, "with buckets in the document");
  settings.add("hgrm", o.hgrm_path, "write HdrHistogram percentile output (microseconds) there");
  settings.add("hdr", o.hdr_path, "write an HdrHistogram log there, one interval per run");
  settings.add("quiet", o.quiet, "no progress line and no table");
}

// Presets are defaults, so they must be known before the options are registered.
std::string find_preset(int argc, const char* const* argv) {
  constexpr std::string_view kFlag = "--preset";
  const char* const environment = std::getenv("COPYKV_PRESET");
  std::string preset = environment != nullptr ? environment : "";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == kFlag && i + 1 < argc) {
      preset = argv[i + 1];
    } else if (argument.starts_with("--preset=")) {
      preset = argument.substr(kFlag.size() + 1);
    }
  }
  return preset;
}

int usage_error(std::string_view line) {
  fmt::print(stderr, "benchkv: {}\n", line);
  return kExitUsage;
}

// Other ranks, and what reaches them.
Outcome<void> check_ranks(const RunOptions& o) {
  if (o.flush != "loop" && o.flush != "call" && o.flush != "clocked" &&
      !o.flush.starts_with("hold:") && !o.flush.starts_with("clocked:")) {
    return Failure{fmt::format("--flush '{}' is none of loop|call|clocked|hold:US", o.flush)};
  }
  if (o.ranks == 1) {
    if (o.transport == "auto" || o.transport == "sim") return {};
    return Failure{
        fmt::format("--transport {}: one rank has no network; leave it at auto", o.transport)};
  }
  if (o.backend != "copykv") {
    return Failure{fmt::format("--backend {}: has no ranks; leave --ranks out", o.backend)};
  }
  if (o.attach) {
    return Failure{
        "--attach: the ranks run already, and this is the load of one; leave --ranks out"};
  }
  if (o.rank >= o.ranks) {
    return Failure{fmt::format("--rank {} with --ranks {}: ranks are numbered from 0 to {}", o.rank,
                               o.ranks, o.ranks - 1)};
  }
  if (uint64_t{o.ranks} * o.client_threads > kWritersMax) {
    return Failure{fmt::format("--ranks {} with --client-threads {}: at most {} clients together",
                               o.ranks, o.client_threads, format_count(kWritersMax))};
  }
  if (o.ranks * o.key_range > kKeysOfRanksMax) {
    return Failure{fmt::format("--key-range {}: {} ranks can have {} keys each at most",
                               o.key_range, o.ranks, format_count(kKeysOfRanksMax / o.ranks))};
  }
  return {};
}

// Who has stations: requests between ranks that are this benchmark's own.
Outcome<void> check_stations(const RunOptions& o) {
  if (o.stations == 0) return {};
  if (o.transport == "sim") {
    return Failure{"--stations: a simulated run stamps every request; leave it out"};
  }
  if (o.attach) {
    return Failure{
        "--stations: with --attach the records of the other ranks are out of reach; let benchkv "
        "start the ranks"};
  }
  if (o.ranks == 1) {
    return Failure{"--stations: requests to other ranks are stamped; add --ranks"};
  }
  return {};
}

Outcome<void> check_local_ratio(RunOptions& o) {
  o.workload.local_ratio = Workload::kByKey;
  if (o.local_ratio == "by-key") return {};
  const Outcome<double> ratio = parse_number(o.local_ratio);
  if (!ratio || *ratio < 0 || *ratio > 1) {
    return Failure{
        fmt::format("--local-ratio '{}': write by-key or a number from 0 to 1", o.local_ratio)};
  }
  if (*ratio < 1 && o.ranks == 1 && !o.attach) {
    return Failure{
        fmt::format("--local-ratio {}: with one rank every key is local", o.local_ratio)};
  }
  if (o.distribution == "latest") {
    return Failure{
        "--local-ratio has no meaning with --distribution latest, where the last write "
        "decides; leave it at by-key"};
  }
  o.workload.local_ratio = *ratio;
  return {};
}

Outcome<void> check_load(const RunOptions& o) {
  const uint32_t digits = key_digits(o.key_range);
  if (o.key_bytes < digits) {
    return Failure{fmt::format("--key-bytes {}: {} keys need at least {} bytes", o.key_bytes,
                               format_count(o.key_range), digits)};
  }
  const bool open = o.arrival != Arrival::closed;
  if (open && o.rate <= 0) return Failure{"an open loop needs --rate OPS (per second)"};
  if (!open && o.rate > 0) {
    return Failure{"--rate has no meaning in a closed loop; add --arrival constant or poisson"};
  }
  if (o.client_threads > o.key_range && o.distribution == "latest") {
    return Failure{"--distribution latest needs at least as many keys as clients"};
  }
  return {};
}

Outcome<void> check_attach(const RunOptions& o) {
  if (o.attach || o.launched) return {};
  for (const Settings::Effective& setting : o.effective) {
    if (setting.source == "flag" &&
        (setting.key == "job" || setting.key == "rank" || setting.key == "runtime_dir")) {
      return Failure{
          "--job, --rank and --runtime-dir name a daemon that runs already: add --attach (or "
          "--rendezvous, when this is to be one of several ranks)"};
    }
  }
  return {};
}

// What a simulated cluster has not got, and what only it has.
Outcome<void> check_simulation(const Settings& settings, RunOptions& o) {
  if (o.transport != "sim") {
    for (const char* flag : {"sim-profile", "sim-send-queues", "sim-start-skew"}) {
      if (settings.is_set(flag)) {
        return Failure{fmt::format("--{}: has a meaning with --transport sim only", flag)};
      }
    }
    return {};
  }
  for (const char* flag : {"attach", "client-processes", "rendezvous", "runtime-dir", "job", "rank",
                           "wait", "backend"}) {
    if (settings.is_set(flag)) {
      return Failure{fmt::format(
          "--{}: a simulated cluster stands in this one process, whose daemons and clients poll "
          "under virtual time; leave it out with --transport sim",
          flag)};
    }
  }
  if (o.daemon_threads > 1) {
    return Failure{
        "--daemon-threads: a simulated rank has one daemon; --sim-send-queues gives it "
        "more than one way to the network"};
  }
  if (o.launched) return Failure{"--transport sim: start one benchkv, not one per rank"};
  // Virtual seconds take minutes.
  if (!settings.is_set("duration")) o.duration_ns = kSimDurationNs;
  if (!settings.is_set("warmup")) o.warmup_ns = kSimWarmupNs;
  return {};
}

}  // namespace

Outcome<void> find_place(const Settings& settings, RunOptions& o) {
  auto launch = find_launch();
  if (!launch) return Failure{launch.error};
  const uint32_t launched = *launch ? (*launch)->ranks.value_or(1) : 1;
  if (launched == 1) {  // on its own, or started by hand as one of several
    o.launched = !o.rendezvous.empty();
    if (!o.launched || (settings.is_set("rank") && o.ranks > 1)) return {};
    return Failure{"--rendezvous: say which of how many ranks this is, with --rank and --ranks"};
  }
  const Launch& found = **launch;
  if (o.attach) return Failure{"--attach: start one benchkv, not one per rank"};
  if ((settings.is_set("ranks") && o.ranks != launched) ||
      (settings.is_set("rank") && o.rank != found.rank)) {
    return Failure{fmt::format(
        "--rank {} --ranks {}: {} started this process as rank {} of {}; leave the flags out",
        o.rank, o.ranks, found.launcher, found.rank, launched)};
  }
  o.launched = true;
  o.rank = found.rank;
  o.ranks = launched;
  if (o.rendezvous.empty()) o.rendezvous = "pmix";
  return {};
}

Outcome<void> complete(RunOptions& o) {
  for (const Outcome<void>& checked :
       {check_ranks(o), check_stations(o), check_local_ratio(o), check_load(o), check_attach(o)}) {
    if (!checked) return Failure{checked.error};
  }
  const Outcome<ValueSizes> sizes = ValueSizes::parse(o.value_bytes);
  if (!sizes) return Failure{sizes.error};
  const Outcome<Distribution> distribution = Distribution::parse(o.distribution);
  if (!distribution) return Failure{distribution.error};
  o.workload.key_range = o.key_range;
  o.workload.key_bytes = o.key_bytes;
  o.workload.sizes = *sizes;
  o.workload.distribution = *distribution;
  o.workload.read_ratio = o.read_ratio;
  o.workload.modify = o.modify;
  o.slos.clear();
  for (const std::string& text : o.slo_texts) {
    Outcome<Slo> slo = Slo::parse(text);
    if (!slo) return Failure{slo.error};
    o.slos.push_back(std::move(*slo));
  }
  return {};
}

std::variant<RunOptions, int> parse_run_options(int argc, const char* const* argv) {
  RunOptions options;
  const std::string preset = find_preset(argc, argv);
  if (const auto applied = apply_preset(preset, options); !applied) {
    return usage_error(applied.error);
  }
  CLI::App app("benchkv [run]: measures the ranks of copykv and explains what it measured",
               "benchkv");
  app.footer(
      "Other commands: benchkv sweep, benchkv compare (benchkv COMMAND --help).\n"
      "Exit: 0 ok, 1 a run failed, 2 usage, 3 wrong data read, 99 an SLO was missed, 130 "
      "interrupted.");
  Settings settings(app, "benchkv");
  register_crew(settings, options);
  register_load(settings, options);
  register_report(settings, options);
  if (const auto code = parse_command_line(app, argc, argv, {&settings})) return *code;
  if (options.preset != preset) {
    return usage_error("a preset is taken from --preset or COPYKV_PRESET, not from a file");
  }
  if (const auto placed = find_place(settings, options); !placed) return usage_error(placed.error);
  if (const auto checked = check_simulation(settings, options); !checked) {
    return usage_error(checked.error);
  }
  options.effective = settings.effective();
  if (const auto completed = complete(options); !completed) return usage_error(completed.error);
  return options;
}

}  // namespace copykv::bench
