// SPDX-License-Identifier: Apache-2.0
#include "bench/analysis/documents.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <stdexcept>

#include "bench/reference.hpp"

namespace copykv::bench::analysis {

namespace {

using Json = nlohmann::ordered_json;

// These name neither the load nor the system.
const std::set<std::string> kNotConditions = {
    "json",   "hgrm",           "hdr",    "quiet",       "histograms", "seed", "runs",
    "slo",    "client_threads", "config", "runtime_dir", "job",        "rank", "duration",
    "warmup", "sim_start_skew"};

// Models walk from one customer (a client at a depth) to all of them.
constexpr uint32_t kCountMax = 16'384;

double number(const Json& object, const char* key, double missing = kUnknown) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? missing : found->get<double>();
}

/// How many there are, or which of them. Throws what nobody can have run.
uint32_t count(const Json& object, const char* key, uint32_t missing, uint32_t least = 1) {
  const double value = number(object, key, missing);
  if (!(value >= least && value <= kCountMax)) {
    throw std::out_of_range(fmt::format("{} is {}, not {} to {}", key, value, least, kCountMax));
  }
  return static_cast<uint32_t>(value);
}

void check_customers(const Conditions& conditions) {
  if (conditions.customers() <= kCountMax) return;
  throw std::out_of_range(fmt::format("{} clients at depth {}: more than {} operations in flight",
                                      conditions.clients, conditions.depth, kCountMax));
}

std::string text(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  return found->is_string() ? found->get<std::string>() : found->dump();
}

const Json& child(const Json& object, const char* key) {
  static const Json kNone = Json::object();
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? kNone : *found;
}

Latency latency_of(const Json& h) {
  Latency out{number(h, "count", 0), number(h, "mean", 0), number(h, "p50", 0), number(h, "p90", 0),
              number(h, "p99", 0),   number(h, "p999", 0), number(h, "max", 0), {}};
  // The lower end of a bucket follows from the layout of the histogram: 2,048 of 1 ns, then each
  // power of two in 1,024.
  for (const Json& bucket : child(h, "buckets")) {
    const double upper = bucket.at(0).get<double>();
    const double width = upper < 2048 ? 1 : std::exp2(std::floor(std::log2(upper)) - 10);
    out.bins.push_back({upper - width, upper, bucket.at(1).get<double>()});
  }
  return out;
}

std::vector<Station> stations_of(const Json& object) {
  std::vector<Station> out;
  for (const auto& [name, h] : object.items()) {
    if (h.is_object() && h.contains("mean")) out.push_back({name, latency_of(h)});
  }
  return out;
}

std::vector<Named> named_of(const Json& object) {
  std::vector<Named> out;
  for (const auto& [name, value] : object.items()) {
    if (value.is_number()) out.push_back({name, value.get<double>()});
  }
  return out;
}

// [[items, times, mean_ns], ...]
Cycles cycles_of(const Json& rows) {
  Cycles out;
  for (const Json& row : rows) {
    out.push_back({row.at(0).get<double>(), row.at(2).get<double>(), row.at(1).get<double>()});
  }
  return out;
}

std::vector<Station> parts_of(const Json& way) {
  std::vector<Station> out;
  for (const Json& part : child(way, "parts"))
    out.push_back({text(part, "name"), latency_of(part)});
  return out;
}

// "rank1.send_queue0" is one of the kind "send_queue": the mean over all of a kind.
std::vector<Named> busy_of(const Json& resources) {
  std::vector<Named> out;
  std::vector<double> count;
  for (const Json& resource : resources) {
    std::string kind = text(resource, "name");
    kind.erase(0, kind.find('.') + 1);
    while (!kind.empty() && kind.back() >= '0' && kind.back() <= '9') kind.pop_back();
    const double busy = number(resource, "busy_fraction", 0);
    const auto same = [&](const Named& other) { return other.name == kind; };
    const auto found = std::find_if(out.begin(), out.end(), same);
    if (found == out.end()) {
      out.push_back({kind, busy});
      count.push_back(1);
      continue;
    }
    double& n = count[static_cast<size_t>(found - out.begin())];
    found->value = (found->value * n + busy) / (n + 1);
    n += 1;
  }
  return out;
}

DaemonFigures daemon_of(const Json& daemon) {
  DaemonFigures out;
  out.rank = count(daemon, "rank", 0, 0);
  out.daemon = count(daemon, "daemon", 0, 0);
  out.turns = number(daemon, "turns", 0);
  out.busy_fraction = number(daemon, "busy_fraction");
  out.ground_queue_mean = number(daemon, "ground_queue_mean");
  out.phases = stations_of(child(daemon, "phase_ns"));
  out.per_turn = named_of(child(daemon, "per_turn"));
  return out;
}

// Rates are sums over ranks, each of the time in which its own clients ran: where ranks begin one
// after the other, operations over the whole time would count the idle ones.
void add_rates(const Json& run, RunFigures& out) {
  out.rate_per_s = number(run, "ops_per_second", 0);
  out.remote_per_rank_per_s = number(child(run, "copyrpc"), "remote_ops_per_second_per_rank");
  if (out.ranks.empty()) return;
  double sum = 0;
  for (const Named& rank : out.ranks) sum += rank.value;
  if (out.rate_per_s > 0) out.remote_per_rank_per_s *= sum / out.rate_per_s;
  out.rate_per_s = sum;
}

RunFigures run_of(const Json& run) {
  RunFigures out;
  out.seconds = number(run, "seconds", 0);
  out.operations = number(run, "operations", 0);
  const Json& law = child(run, "littles_law");
  out.in_flight_mean = number(law, "in_flight_mean");
  out.throughput_per_s = number(law, "throughput_per_second");
  out.latency_mean_ns = number(law, "latency_mean_ns");
  out.residual = number(law, "residual");
  const Json& rpc = child(run, "copyrpc");
  out.messages_per_batch = number(rpc, "messages_per_batch_mean");
  out.batches_per_s = number(rpc, "batches_per_second");
  out.rtt = latency_of(child(rpc, "rtt_ns"));
  const Json& latencies = child(run, "latency_ns");
  out.all = latency_of(child(latencies, "all"));
  out.causes = stations_of(latencies);
  std::erase_if(out.causes, [](const Station& cause) { return cause.name == "all"; });
  const Json& stations = child(run, "stations");
  out.stations = parts_of(child(stations, "remote"));
  out.busy = busy_of(child(run, "resources"));
  for (const Json& daemon : child(run, "daemons")) out.daemons.push_back(daemon_of(daemon));
  for (const Json& rank : child(run, "ranks")) {
    out.ranks.push_back({text(rank, "rank"), number(rank, "ops_per_second", 0)});
  }
  add_rates(run, out);
  for (const Json& row : child(run, "time_series")) {
    out.over_time.push_back({row.at(0).get<double>(), row.at(1).get<double>(), 1});
  }
  out.turns = cycles_of(child(stations, "turns_by_items"));
  out.batches = cycles_of(child(stations, "batches_by_messages"));
  for (const Json& failure : child(run, "failures")) {
    out.failures.push_back(failure.get<std::string>());
  }
  return out;
}

Conditions conditions_of(const Json& document) {
  const Json& host = child(document, "host");
  const Json& config = child(document, "config");
  Conditions out;
  out.transport = text(host, "transport");
  out.cpu = text(host, "cpu");
  out.commit = text(host, "commit");
  out.kernel = text(host, "kernel");
  out.build = fmt::format("{} {}", text(host, "compiler"), text(host, "build_type"));
  out.profile = text(child(host, "profile"), "name");
  out.group = text(child(document, "experiment"), "group");
  if (!out.group.empty()) out.settings.emplace_back("group", out.group);
  out.simulated = host.value("simulated", false);
  out.ranks = count(config, "ranks", 1);
  out.daemons = count(config, "daemon_threads", 1);
  out.clients = count(config, "client_threads", 1);
  out.depth = count(config, "queue_depth", 1);
  check_customers(out);
  for (const auto& [key, value] : config.items()) {
    if (kNotConditions.contains(key)) continue;
    out.settings.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return out;
}

// A published row gives rates and round trips, each of one run.
Point published_point(const Json& reference, const Json& row) {
  const Json& stated = reference.at("conditions");
  Point point;
  Conditions& c = point.conditions;
  c.published = true;
  c.transport = text(stated, "network");
  c.ranks = count(stated, "ranks", 2);
  c.depth = count(stated, "queue_depth", 1);
  c.clients = count(row, "clients", 1);
  check_customers(c);
  c.settings = {{"published", "two ranks"}};
  RunFigures run;
  run.rate_per_s = number(row, "total_ops_per_s", 0);
  run.remote_per_rank_per_s = number(row, "remote_per_rank_per_s");
  run.rtt.p50_ns = 1e3 * number(row, "rtt_p50_us", 0);
  run.rtt.mean_ns = 1e3 * number(row, "rtt_mean_us", 0);
  run.rtt.count = 1;
  const Json& histogram = child(reference, "rtt_histogram");
  if (number(histogram, "clients") == c.clients) {
    run.rtt.count = 0;
    for (const Json& bucket : child(histogram, "buckets")) {
      const double low_ns = 1e3 * bucket.at(0).get<double>();
      run.rtt.bins.push_back({low_ns, low_ns + 1e3, bucket.at(1).get<double>()});
      run.rtt.count += run.rtt.bins.back().count;
      run.rtt.max_ns = low_ns + 1e3;
    }
  }
  point.runs.push_back(std::move(run));
  return point;
}

}  // namespace

const Json& published_reference() {
  static const Json kReference = Json::parse(dc_two_ranks_text());
  return kReference;
}

Outcome<void> add_document(const Json& document, Study& study) {
  try {
    if (document.contains("rows")) {
      for (const Json& row : document.at("rows")) {
        add_point(published_point(document, row), study);
      }
      return {};
    }
    if (!document.contains("schema")) return Failure{"no result of benchkv"};
    if (document.at("schema") != 1) return Failure{"not of schema 1"};
    if (document.contains("points")) {
      for (const Json& point : document.at("points")) {
        if (auto added = add_document(point, study); !added) return added;
      }
      return {};
    }
    if (!document.contains("runs")) return Failure{"no result of benchkv"};
    Point point;
    point.conditions = conditions_of(document);
    point.line_rtt_ns = number(child(document, "line_rtt_ns"), "before");
    for (const Json& run : document.at("runs")) point.runs.push_back(run_of(run));
    for (const Json& slo : child(document, "slos")) {
      point.slos.push_back({text(slo, "slo"), slo.value("met", false), number(slo, "limit", 0),
                            number(slo, "measured", 0)});
    }
    if (!point.runs.empty()) add_point(std::move(point), study);
  } catch (const std::exception& error) {
    return Failure{fmt::format("not a document of benchkv: {}", error.what())};
  }
  return {};
}

}  // namespace copykv::bench::analysis
