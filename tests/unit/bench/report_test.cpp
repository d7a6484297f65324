// SPDX-License-Identifier: Apache-2.0
// What is written: the shape of the document, the table, sweeps, comparisons, options and presets.
#include "bench/report.hpp"

#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "bench/commands.hpp"

namespace copykv::bench {
namespace {

RunOptions parse(std::vector<const char*> flags) {
  flags.insert(flags.begin(), "benchkv");
  auto parsed = parse_run_options(static_cast<int>(flags.size()), flags.data());
  REQUIRE(std::holds_alternative<RunOptions>(parsed));
  return std::get<RunOptions>(parsed);
}

int refused(std::vector<const char*> flags) {
  flags.insert(flags.begin(), "benchkv");
  auto parsed = parse_run_options(static_cast<int>(flags.size()), flags.data());
  return std::holds_alternative<int>(parsed) ? std::get<int>(parsed) : -1;
}

Report make_report(const RunOptions& options) {
  Report report;
  report.options = options;
  report.line_rtt_before.p50_ns = 130;
  report.line_rtt_after.p50_ns = 131;
  RunResult run;
  run.measured.start_ns = 0;
  run.measured.end_ns = kNanosPerSecond;
  run.measured.operations = 2000;
  run.measured.client_operations = {2000};
  run.measured.in_flight_time_ns = 1000 * 500 + 1000 * 700;
  run.measured.service.of(Series::get_local).record_n(500, 1000);
  run.measured.service.of(Series::put_local).record_n(700, 1000);
  run.daemons.push_back({});
  report.runs.push_back(run);
  return report;
}

std::set<std::string> keys_of(const Json& object) {
  std::set<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.insert(key);
  return keys;
}

bool has_all(const Json& object, const std::set<std::string>& names) {
  const auto keys = keys_of(object);
  return std::includes(keys.begin(), keys.end(), names.begin(), names.end());
}

}  // namespace

TEST_CASE("the document has the shape of schema 1") {
  const Json document = Json::parse(to_json(make_report(parse({}))).dump());
  CHECK(document["schema"] == 1);
  CHECK(has_all(document, {"schema", "config", "host", "line_rtt_ns", "runs"}));
  CHECK(has_all(
      document["config"],
      {"ranks",       "daemon_threads", "client_threads", "queue_depth", "key_range", "key_bytes",
       "value_bytes", "read_ratio",     "distribution",   "local_ratio", "preset",    "duration",
       "warmup",      "runs",           "seed",           "arrival",     "rate",      "transport",
       "flush",       "wait",           "verify",         "slo",         "json",      "histograms",
       "quiet"}));
  CHECK(has_all(document["host"], {"cpu", "cores", "kernel", "commit", "compiler", "build_type",
                                   "transport", "simulated"}));
  CHECK(document["line_rtt_ns"]["before"] == 130);
  CHECK(document["line_rtt_ns"]["after"] == 131);
  const Json& run = document["runs"][0];
  CHECK(has_all(run, {"seconds", "operations", "ops_per_second", "ranks_reporting", "errors",
                      "reads_verified", "wrong_values", "latency_ns", "littles_law", "copyrpc",
                      "daemons", "time_series"}));
  CHECK(has_all(run["latency_ns"], {"all", "get_local", "get_remote", "put_local", "put_remote"}));
  CHECK(keys_of(run["latency_ns"]["all"]) ==
        std::set<std::string>{"count", "mean", "p50", "p90", "p99", "p999", "max"});
  CHECK(keys_of(run["littles_law"]) == std::set<std::string>{"in_flight_mean",
                                                             "throughput_per_second",
                                                             "latency_mean_ns", "residual"});
  CHECK(has_all(run["copyrpc"], {"rtt_ns", "remote_ops_per_second_per_rank",
                                 "messages_per_batch_mean", "batches_per_second"}));
  const Json& daemon = run["daemons"][0];
  CHECK(has_all(daemon, {"rank", "daemon", "turns", "busy_fraction", "ground_queue_mean",
                         "phase_ns", "per_turn"}));
  CHECK(has_all(daemon["phase_ns"], {"completions", "inbound", "ground_queue", "flush"}));
  CHECK(has_all(daemon["per_turn"],
                {"requests", "local", "remote", "answers", "inbound", "flushes", "ring_full"}));
}

TEST_CASE("the document's figures are the measurement's") {
  const Json run = to_json(make_report(parse({})))["runs"][0];
  CHECK(run["operations"] == 2000);
  CHECK(run["ops_per_second"] == 2000.0);
  CHECK(run["errors"]["total"] == 0);
  CHECK(run["latency_ns"]["all"]["count"] == 2000);
  CHECK(run["latency_ns"]["all"]["mean"] == 600.0);
  CHECK(run["latency_ns"]["get_local"]["p50"] == 500);
  CHECK(run["latency_ns"]["put_local"]["max"] == 700);
  CHECK(run["latency_ns"]["get_remote"]["count"] == 0);
  CHECK(run["response_ns"].is_null());
  CHECK(run["littles_law"]["residual"].get<double>() < 1e-9);
}

TEST_CASE("buckets only when asked for, and they add up") {
  const Json run = to_json(make_report(parse({"--histograms"})))["runs"][0];
  const Json& buckets = run["latency_ns"]["all"]["buckets"];
  uint64_t sum = 0;
  for (const Json& bucket : buckets) sum += bucket[1].get<uint64_t>();
  CHECK(buckets.size() == 2);
  CHECK(sum == 2000);
}

TEST_CASE("wrong data, failed runs, missed objectives: the exit code says the worst") {
  Report report = make_report(parse({}));
  CHECK(report.exit_code() == kExitOk);
  report.slos.push_back({});
  CHECK(report.exit_code() == kExitSloMissed);
  report.interrupted = true;
  CHECK(report.exit_code() == kExitInterrupted);
  report.runs[0].failures.push_back("it failed");
  CHECK(report.exit_code() == kExitRunFailed);
  report.runs[0].measured.wrong_values = 1;
  report.runs[0].measured.first_wrong = WrongValue{0, "0000002a", 8, "\x01\xff"};
  CHECK(report.exit_code() == kExitWrongData);
  const std::string table = to_table(report);
  CHECK(table.find("key 0000002a") != std::string::npos);
  CHECK(table.find("01 ff") != std::string::npos);
  CHECK(table.find("FAILED: run 1: it failed") != std::string::npos);
  const Json wrong = to_json(report)["runs"][0]["first_wrong_value"];
  CHECK(wrong["value_start_hex"] == "01ff");
}

TEST_CASE("the table shows service and response apart in an open loop") {
  Report report = make_report(parse({"--arrival", "poisson", "--rate", "1e6"}));
  report.runs[0].measured.response.of(Series::get_local).record_n(9'000, 1000);
  const std::string table = to_table(report);
  CHECK(table.find("all service") != std::string::npos);
  CHECK(table.find("all response") != std::string::npos);
  CHECK(to_json(report)["runs"][0]["response_ns"]["all"]["p50"] == 9000);
  CHECK(to_hgrm(report).find("9.0") != std::string::npos);
}

TEST_CASE("presets are defaults that flags override") {
  const RunOptions a = parse({"--preset", "ycsb-a"});
  CHECK(a.read_ratio == 0.5);
  CHECK(a.distribution == "zipfian:0.99");
  CHECK(a.workload.sizes.bytes_max() == 1000);
  const RunOptions b = parse({"--read-ratio=0.7", "--preset=ycsb-b", "--key-range", "77"});
  CHECK(b.read_ratio == 0.7);
  CHECK(b.key_range == 77);
  CHECK(b.value_bytes == "1000");
  CHECK(parse({"--preset", "ycsb-c"}).read_ratio == 1.0);
  CHECK(parse({"--preset", "ycsb-d"}).distribution == "latest");
  CHECK(parse({"--preset", "ycsb-f"}).workload.modify);
  CHECK(parse({"--preset", "rtt-analysis"}).histograms);
  CHECK(refused({"--preset", "ycsb-e"}) == kExitUsage);
  CHECK(refused({"--preset", "ycsb-z"}) == kExitUsage);
}

TEST_CASE("options that contradict each other or are not there yet are refused") {
  CHECK(refused({"--ranks", "0"}) == kExitUsage);
  CHECK(refused({"--ranks", "2", "--backend", "null"}) == kExitUsage);
  CHECK(refused({"--ranks", "2", "--attach"}) == kExitUsage);
  CHECK(refused({"--ranks", "2", "--key-range", "100000000"}) == kExitUsage);
  CHECK(refused({"--transport", "sim", "--attach"}) == kExitUsage);
  CHECK(refused({"--transport", "rc"}) == kExitUsage);
  CHECK(refused({"--arrival", "poisson"}) == kExitUsage);
  CHECK(refused({"--rate", "1000"}) == kExitUsage);
  CHECK(refused({"--key-bytes", "2", "--key-range", "1000"}) == kExitUsage);
  CHECK(refused({"--key-range", "0"}) == kExitUsage);
  CHECK(refused({"--queue-depth", "65"}) == kExitUsage);
  CHECK(refused({"--value-bytes", "9-3"}) == kExitUsage);
  CHECK(refused({"--local-ratio", "0.5"}) == kExitUsage);
  CHECK(refused({"--local-ratio", "x"}) == kExitUsage);
  CHECK(refused({"--flush", "never"}) == kExitUsage);
  CHECK(refused({"--slo", "get.p98<1us"}) == kExitUsage);
  CHECK(refused({"--rank", "1"}) == kExitUsage);
  CHECK(refused({"--no-such-flag"}) == kExitUsage);
  CHECK(parse({"--local-ratio", "1"}).local_ratio == "1");
  CHECK(parse({"--flush", "hold:5"}).flush == "hold:5");
}

TEST_CASE("a sweep is one command line per value") {
  const auto lines = expand_sweep(
      {"--client-threads", "1,2", "--value-bytes", "64:1,128:1", "--queue-depth=1,64", "--quiet"});
  REQUIRE(lines.size() == 4);
  CHECK(lines[0] == std::vector<std::string>{"--client-threads", "1", "--value-bytes", "64:1,128:1",
                                             "--queue-depth=1", "--quiet"});
  CHECK(lines[1][4] == "--queue-depth=64");
  CHECK(lines[3][1] == "2");
  CHECK(expand_sweep({"--seed", "5"}).size() == 1);
  CHECK(expand_sweep({}).size() == 1);
}

TEST_CASE("comparisons find what became worse, and only that") {
  Json base = to_json(make_report(parse({})));
  for (int run = 1; run < 5; ++run) base["runs"].push_back(base["runs"][0]);
  const auto with = [&](const char* path, std::vector<double> values) {
    Json changed = base;
    for (size_t run = 0; run < 5; ++run) {
      changed["runs"][run][Json::json_pointer(path)] = values[run];
    }
    return changed;
  };
  const Json faster = with("/ops_per_second", {4000, 4001, 4002, 4003, 4004});
  const Json slower = with("/ops_per_second", {1880, 1881, 1879, 1882, 1878});
  const Json late = with("/latency_ns/all/p99", {900, 901, 902, 903, 904});
  CHECK_FALSE(compare_documents(base, base, 0)->worse);
  CHECK_FALSE(compare_documents(base, faster, 0.05)->worse);
  CHECK(compare_documents(base, slower, 0.05)->worse);
  CHECK_FALSE(compare_documents(base, slower, 0.07)->worse);
  CHECK(compare_documents(base, late, 0.05)->worse);
  CHECK(compare_documents(base, late, 0.05)->table.find("WORSE") != std::string::npos);
  CHECK(compare_documents(base, late, 0.05)->markdown.find("| WORSE |") != std::string::npos);
}

TEST_CASE("comparisons fail on neither drift nor trifles nor single runs") {
  Json base = to_json(make_report(parse({})));
  const Json single = base;
  for (int run = 1; run < 6; ++run) base["runs"].push_back(base["runs"][0]);
  Json changed = base;
  // Median 20 % lower, but the runs scatter as much on both sides.
  const double before[] = {2000, 1000, 2100, 1100, 2050, 2000};
  const double after[] = {1600, 2100, 1000, 1600, 2200, 1100};
  for (size_t run = 0; run < 6; ++run) {
    base["runs"][run]["ops_per_second"] = before[run];
    changed["runs"][run]["ops_per_second"] = after[run];
  }
  CHECK_FALSE(compare_documents(base, changed, 0.05)->worse);
  CHECK_FALSE(compare_documents(base, changed, 0.05)->untested);
  Json slow = single;
  slow["runs"][0]["ops_per_second"] = 500.0;
  const auto compared = compare_documents(single, slow, 0.05);
  CHECK_FALSE(compared->worse);
  CHECK(compared->untested);
  CHECK(compared->table.find("too few runs") != std::string::npos);
}

TEST_CASE("comparisons refuse what cannot be compared") {
  const Json base = to_json(make_report(parse({})));
  Json simulated = base;
  simulated["host"]["simulated"] = true;
  CHECK_FALSE(compare_documents(base, simulated, 0.05));
  CHECK_FALSE(compare_documents(base, Json::object(), 0.05));
  CHECK_FALSE(compare_documents(Json{{"schema", 2}}, base, 0.05));
  const Json sweep = {{"schema", 1}, {"points", {base, base}}};
  CHECK_FALSE(compare_documents(base, sweep, 0.05));
  CHECK_FALSE(compare_documents(sweep, sweep, 0.05)->worse);
}

}  // namespace copykv::bench
