// SPDX-License-Identifier: Apache-2.0
// `benchkv reproduce rtt-littles-law -o DIR`: runs everything, several times in interleaved order,
// and writes
//   DIR/runs/<group>-<number>-r<run>.json   a document (schema 1) of each run
//   DIR/summary.json                        per experiment: medians with their intervals
//   DIR/runs.csv                            a line per run
//   DIR/manifest.json                       what was run, how, and which file is which
//   DIR/report.html                         all of it, beside what was published
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include <CLI/CLI.hpp>

#include "bench/command_line.hpp"
#include "bench/commands.hpp"
#include "bench/confidence.hpp"
#include "bench/fork_map.hpp"
#include "bench/interrupt.hpp"
#include "bench/reference.hpp"
#include "bench/reproduce.hpp"

namespace copykv::bench {
namespace {

/// What tables and intervals are made of.
struct Figures {
  double ops_per_second = 0;
  double remote_per_rank = 0;
  double rtt_p50_us = 0;
  double rtt_mean_us = 0;
  double latency_p50_us = 0;
  double latency_p99_us = 0;
  double messages_per_batch = 0;
  double residual = 0;
};
struct Column {
  const char* name;
  double Figures::*value;
};
constexpr Column kColumns[] = {{"ops_per_second", &Figures::ops_per_second},
                               {"remote_per_rank_per_second", &Figures::remote_per_rank},
                               {"rtt_p50_us", &Figures::rtt_p50_us},
                               {"rtt_mean_us", &Figures::rtt_mean_us},
                               {"latency_p50_us", &Figures::latency_p50_us},
                               {"latency_p99_us", &Figures::latency_p99_us},
                               {"messages_per_batch", &Figures::messages_per_batch},
                               {"littles_law_residual", &Figures::residual}};

/// Rates are those of each rank while its own clients run.
Figures figures_of(const Json& document) {
  const Json& run = document.at("runs").at(0);
  Figures to;
  double operations = 0;
  for (const Json& rank : run.at("ranks")) {
    to.ops_per_second += rank.at("ops_per_second").get<double>();
    operations += rank.at("operations").get<double>();
  }
  const Json& latency = run.at("latency_ns");
  const double remote = latency.at("get_remote").at("count").get<double>() +
                        latency.at("put_remote").at("count").get<double>();
  const auto ranks = static_cast<double>(run.at("ranks").size());
  if (operations > 0) to.remote_per_rank = to.ops_per_second * remote / operations / ranks;
  const Json& rpc = run.at("copyrpc");
  to.rtt_p50_us = rpc.at("rtt_ns").at("p50").get<double>() / 1e3;
  to.rtt_mean_us = rpc.at("rtt_ns").at("mean").get<double>() / 1e3;
  to.latency_p50_us = latency.at("all").at("p50").get<double>() / 1e3;
  to.latency_p99_us = latency.at("all").at("p99").get<double>() / 1e3;
  const Json& batch = rpc.at("messages_per_batch_mean");
  if (batch.is_number()) to.messages_per_batch = batch;
  to.residual = run.at("littles_law").at("residual");
  return to;
}

struct Done {
  const Experiment* experiment = nullptr;
  size_t number = 0;
  std::vector<std::string> files{};
  std::vector<Figures> figures{};

  [[nodiscard]] MedianInterval interval(const Column& column) const {
    std::vector<double> values;
    for (const Figures& run : figures) values.push_back(run.*column.value);
    return median_of_runs(std::move(values));
  }
};

struct Command {
  ReproduceOptions options{};
  std::string what{};
  std::string directory{};
  uint32_t jobs = usable_cores();
};

Outcome<void> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) == 0 || errno == EEXIST) return {};
  return Failure{fmt::format("cannot make {}: {}", path, std::strerror(errno))};
}

/// The document of one run. Throws what went wrong.
std::string run_one(const Experiment& experiment, uint64_t seed) {
  RunOptions options = experiment.options;
  options.seed = seed;
  if (const auto completed = complete(options); !completed) {
    throw std::runtime_error(completed.error);
  }
  const auto report = measure_point(options);
  if (!report) throw std::runtime_error(fmt::format("{}: {}", experiment.label, report.error));
  if (report->exit_code() != kExitOk) {
    const auto& runs = report->runs;
    throw std::runtime_error(fmt::format(
        "{}: {}", experiment.label,
        runs.empty() || runs.back().failures.empty() ? "failed" : runs.back().failures.front()));
  }
  Json document = to_json(*report);
  document["config"] = {{"ranks", options.ranks},
                        {"daemon_threads", options.daemon_threads},
                        {"client_threads", options.client_threads},
                        {"queue_depth", options.queue_depth},
                        {"key_range", options.key_range},
                        {"key_bytes", options.key_bytes},
                        {"value_bytes", options.value_bytes},
                        {"read_ratio", options.read_ratio},
                        {"distribution", options.distribution},
                        {"flush", options.flush},
                        {"transport", options.transport},
                        {"duration", static_cast<double>(options.duration_ns) / 1e9},
                        {"seed", options.seed},
                        {"sim_profile", options.sim_profile},
                        {"sim_send_queues", options.sim_send_queues},
                        {"sim_start_skew", static_cast<double>(options.start_skew_ns) / 1e9}};
  document["experiment"] = {{"group", experiment.group}, {"label", experiment.label}};
  return document.dump();
}

/// Runs of all experiments, the first of each, then the second of each, and so on: what drifts
/// while they are made does not fall on one of them.
Outcome<void> run_all(const Command& command, std::vector<Done>& done, bool simulated,
                      uint32_t jobs) {
  std::vector<Done*> chosen;
  for (Done& of : done) {
    if ((of.experiment->options.transport == "sim") == simulated) chosen.push_back(&of);
  }
  const uint32_t runs = command.options.runs;
  const auto texts = fork_map(chosen.size() * runs, jobs, [&](size_t number) {
    const size_t run = number / chosen.size();
    // Seeds of clients must not meet: client i of rank r draws from seed + r * 1000 + i.
    return run_one(*chosen[number % chosen.size()]->experiment,
                   command.options.seed + run * 1'000'000);
  });
  if (!texts) return Failure{texts.error};
  for (size_t number = 0; number < texts->size(); ++number) {
    Done& of = *chosen[number % chosen.size()];
    const std::string file = fmt::format("runs/{}-{:02}-r{}.json", of.experiment->group, of.number,
                                         number / chosen.size() + 1);
    auto written = write_text(command.directory + "/" + file, (*texts)[number] + "\n");
    if (!written) return written;
    of.files.push_back(file);
    of.figures.push_back(figures_of(Json::parse((*texts)[number])));
  }
  return {};
}

Json summary_of(const std::vector<Done>& done) {
  Json list = Json::array();
  for (const Done& of : done) {
    const RunOptions& options = of.experiment->options;
    Json entry = {{"group", of.experiment->group},
                  {"label", of.experiment->label},
                  {"reference", of.experiment->reference},
                  {"simulated", options.transport == "sim"},
                  {"transport", options.transport},
                  {"ranks", options.ranks},
                  {"clients", options.client_threads},
                  {"depth", options.queue_depth},
                  {"flush", options.flush},
                  {"profile", options.transport == "sim" ? options.sim_profile : ""},
                  {"send_queues", options.sim_send_queues},
                  {"runs", of.figures.size()},
                  {"files", of.files}};
    for (const Column& column : kColumns) {
      const MedianInterval interval = of.interval(column);
      entry[column.name] = {{"median", interval.median},
                            {"low", interval.low},
                            {"high", interval.high},
                            {"coverage", interval.coverage}};
    }
    list.push_back(std::move(entry));
  }
  return {{"schema", 1},
          {"kind", "reproduce-summary"},
          {"method", kIntervalMethod},
          {"experiments", std::move(list)}};
}

std::string csv_of(const std::vector<Done>& done) {
  std::string text = "group,label,simulated,ranks,clients,depth,flush,profile,send_queues,run";
  for (const Column& column : kColumns) text += fmt::format(",{}", column.name);
  text += ",file\n";
  for (const Done& of : done) {
    const RunOptions& o = of.experiment->options;
    const bool simulated = o.transport == "sim";
    for (size_t run = 0; run < of.figures.size(); ++run) {
      text += fmt::format("{},\"{}\",{},{},{},{},{},{},{},{}", of.experiment->group,
                          of.experiment->label, simulated, o.ranks, o.client_threads, o.queue_depth,
                          o.flush, simulated ? o.sim_profile : "", o.sim_send_queues, run + 1);
      for (const Column& column : kColumns) {
        text += fmt::format(",{:.9g}", of.figures[run].*column.value);
      }
      text += fmt::format(",{}\n", of.files[run]);
    }
  }
  return text;
}

Json manifest_of(const Command& command, const std::vector<Done>& done, double seconds) {
  const Host host = describe_host();
  Json groups = Json::array();
  for (const auto& [name, title] : reproduce_groups()) {
    Json experiments = Json::array();
    for (const Done& of : done) {
      if (of.experiment->group != name) continue;
      experiments.push_back({{"label", of.experiment->label},
                             {"reference", of.experiment->reference},
                             {"files", of.files}});
    }
    if (experiments.empty()) continue;
    groups.push_back({{"name", name},
                      {"title", title},
                      {"simulated", name != "real"},
                      {"experiments", std::move(experiments)}});
  }
  return {{"schema", 1},
          {"kind", "reproduce"},
          {"what", command.what},
          {"commit", host.commit},
          {"machine", host.cpu},
          {"cores", host.cores},
          {"transport", command.options.transport},
          {"profile", command.options.profile},
          {"own_profile", command.options.own_profile},
          {"skew_permille", command.options.skew_permille},
          {"runs", command.options.runs},
          {"seed", command.options.seed},
          {"order", "interleaved: run 1 of every experiment, then run 2"},
          {"seconds", seconds},
          {"reference", Json::parse(dc_two_ranks_text())},
          {"summary", "summary.json"},
          {"csv", "runs.csv"},
          {"groups", std::move(groups)}};
}

void print(const std::vector<Done>& done) {
  for (const auto& [name, title] : reproduce_groups()) {
    bool first = true;
    for (const Done& of : done) {
      if (of.experiment->group != name) continue;
      if (std::exchange(first, false)) {
        fmt::print("\n{}: {}\n  {:<44}{:>10}{:>18}{:>12}{:>20}{:>8}\n",
                   name == "real" ? "MEASURED" : "SIMULATED", title, "", "ops M/s", "(95 %)",
                   "remote M/s", "RTT p50 us (95 %)", "batch");
      }
      const MedianInterval rate = of.interval(kColumns[0]);
      const MedianInterval rtt = of.interval(kColumns[2]);
      fmt::print("  {:<44}{:>10.2f}{:>18}{:>12.3f}{:>20}{:>8.2f}\n", of.experiment->label,
                 rate.median / 1e6, fmt::format("{:.2f}-{:.2f}", rate.low / 1e6, rate.high / 1e6),
                 of.interval(kColumns[1]).median / 1e6,
                 fmt::format("{:.2f} ({:.2f}-{:.2f})", rtt.median, rtt.low, rtt.high),
                 of.interval(kColumns[6]).median);
    }
  }
}

int reproduce(const Command& command) {
  const uint64_t started_ns = kSystemClock.now_ns();
  for (const std::string& path : {command.directory, command.directory + "/runs"}) {
    if (const auto made = make_directory(path); !made) return fail(made.error);
  }
  const std::vector<Experiment> experiments = experiments_of(command.options);
  if (experiments.empty()) return fail("there is nothing to run", kExitUsage);
  std::vector<Done> done;
  done.reserve(experiments.size());
  std::map<std::string, size_t> numbers;
  for (const Experiment& experiment : experiments) {
    done.push_back({&experiment, ++numbers[experiment.group], {}, {}});
  }
  if (const auto ran = run_all(command, done, true, command.jobs); !ran) return fail(ran.error);
  const double simulated_seconds = static_cast<double>(kSystemClock.now_ns() - started_ns) / 1e9;
  // Alone on the machine, one after the other.
  if (const auto ran = run_all(command, done, false, 1); !ran) return fail(ran.error);
  const std::pair<const char*, std::string> files[] = {
      {"summary.json", summary_of(done).dump(2) + "\n"},
      {"runs.csv", csv_of(done)},
      {"manifest.json", manifest_of(command, done, simulated_seconds).dump(2) + "\n"}};
  for (const auto& [name, text] : files) {
    const auto written = write_text(fmt::format("{}/{}", command.directory, name), text);
    if (!written) return fail(written.error);
  }
  print(done);
  const auto reported = write_html_report(
      {"published", command.directory + "/runs"}, command.directory + "/report.html",
      fmt::format("{}: {}", command.what,
                  command.options.transport == "sim" ? "simulated" : "simulated and measured"));
  if (!reported) return fail(reported.error);
  fmt::print(
      "\n{} experiments, {} runs of each; the simulated ones took {:.0f} s; {}/report.html\n",
      done.size(), command.options.runs, simulated_seconds, command.directory);
  return kExitOk;
}

}  // namespace

int reproduce_command(int argc, const char* const* argv) {
  Command command;
  ReproduceOptions& options = command.options;
  CLI::App app("benchkv reproduce: a published analysis, again: by simulation, and on this machine",
               "benchkv reproduce");
  app.add_option("WHAT", command.what)
      ->required()
      ->check(CLI::IsMember(std::vector<std::string>{"rtt-littles-law"}));
  app.add_option("-o,--output", command.directory, "folder for everything")->required();
  app.add_option("--transport", options.transport,
                 "also over this real transport: ofi-shm, ofi-tcp, ...")
      ->capture_default_str();
  app.add_option("--runs", options.runs, "of each experiment, with different seeds")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--seed", options.seed)->capture_default_str();
  app.add_option("--sim-profile", options.profile, "what the published ranks cost")
      ->capture_default_str();
  app.add_option("--own-profile", options.own_profile, "what copykv's ranks cost")
      ->capture_default_str();
  app.add_option("--skew", options.skew_permille,
                 "thousandths of a published run in which one rank works alone")
      ->capture_default_str();
  app.add_option("--scale", options.scale, "of the virtual durations")
      ->check(CLI::Range(0.05, 1000.0))
      ->capture_default_str();
  app.add_option("--real-seconds", options.real_seconds, "of each run over a real transport")
      ->capture_default_str();
  std::vector<std::string> known;
  for (const auto& [name, title] : reproduce_groups()) known.push_back(name);
  app.add_option("--group", options.groups, "only these")->check(CLI::IsMember(known));
  app.add_option("--jobs", command.jobs, "simulations at the same time")
      ->check(CLI::Range(1, 1024));
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  watch_interrupts();
  return reproduce(command);
}

}  // namespace copykv::bench
