// SPDX-License-Identifier: Apache-2.0
#include "bench/analysis/documents.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>


namespace copykv::bench::analysis {

extern const char* const kPublishedJson;  // bench/reference/published-2rank.json

namespace {

using Json = nlohmann::ordered_json;

// These name neither the load nor the system.
const std::set<std::string> kNotConditions = {"json", "hgrm",     "hdr",    "quiet",  "histograms",
                                              "seed", "runs",     "slo",    "client_threads",
                                              "config", "runtime_dir", "job", "rank"};

double number(const Json& object, const char* key, double missing = kUnknown) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? missing : found->get<double>();
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
  Latency out{number(h, "count", 0), number(h, "mean", 0), number(h, "p50", 0),
              number(h, "p90", 0),   number(h, "p99", 0),  number(h, "p999", 0),
              number(h, "max", 0),   {}};
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
  for (const Json& part : child(way, "parts")) out.push_back({text(part, "name"), latency_of(part)});
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
  out.rank = static_cast<uint32_t>(number(daemon, "rank", 0));
  out.daemon = static_cast<uint32_t>(number(daemon, "daemon", 0));
  out.turns = number(daemon, "turns", 0);
  out.busy_fraction = number(daemon, "busy_fraction");
  out.ground_queue_mean = number(daemon, "ground_queue_mean");
  out.phases = stations_of(child(daemon, "phase_ns"));
  out.per_turn = named_of(child(daemon, "per_turn"));
  return out;
}

RunFigures run_of(const Json& run) {
  RunFigures out;
  out.seconds = number(run, "seconds", 0);
  out.operations = number(run, "operations", 0);
  out.rate_per_s = number(run, "ops_per_second", 0);
  const Json& law = child(run, "littles_law");
  out.in_flight_mean = number(law, "in_flight_mean");
  out.latency_mean_ns = number(law, "latency_mean_ns");
  out.residual = number(law, "residual");
  const Json& rpc = child(run, "copyrpc");
  out.remote_per_rank_per_s = number(rpc, "remote_ops_per_second_per_rank");
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
  out.simulated = host.value("simulated", false);
  const auto count = [&](const char* key) {
    return static_cast<uint32_t>(number(config, key, 1));
  };
  out.ranks = count("ranks");
  out.daemons = count("daemon_threads");
  out.clients = count("client_threads");
  out.depth = count("queue_depth");
  for (const auto& [key, value] : config.items()) {
    if (kNotConditions.contains(key)) continue;
    out.settings.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return out;
}

bool same_series(const Conditions& a, const Conditions& b) {
  return a.settings == b.settings && a.transport == b.transport && a.simulated == b.simulated &&
         a.published == b.published && a.cpu == b.cpu && a.commit == b.commit;
}

void add_point(Point point, Study& study) {
  const auto same = [&](const Series& series) {
    return same_series(series.points.front().conditions, point.conditions);
  };
  const auto found = std::find_if(study.series.begin(), study.series.end(), same);
  if (found == study.series.end()) {
    study.series.push_back({{}, {std::move(point)}});
    return;
  }
  for (Point& other : found->points) {
    if (other.conditions.clients != point.conditions.clients) continue;
    std::move(point.runs.begin(), point.runs.end(), std::back_inserter(other.runs));
    std::move(point.slos.begin(), point.slos.end(), std::back_inserter(other.slos));
    return;
  }
  found->points.push_back(std::move(point));
}

// A published row gives rates and round trips, each of one run.
void add_published(const Json& reference, Study& study) {
  const Json& stated = reference.at("conditions");
  for (const Json& row : reference.at("rtt_by_clients")) {
    Point point;
    Conditions& c = point.conditions;
    c.published = true;
    c.transport = text(stated, "transport");
    c.cpu = text(stated, "nic");
    c.ranks = static_cast<uint32_t>(number(stated, "ranks", 2));
    c.depth = static_cast<uint32_t>(number(stated, "queue_depth", 1));
    c.clients = static_cast<uint32_t>(number(row, "clients_per_rank", 1));
    c.settings = {{"published", "two ranks"}};
    RunFigures run;
    run.rate_per_s = number(row, "total_ops_per_s", 0);
    run.remote_per_rank_per_s = number(row, "remote_per_rank_per_s");
    run.rtt.count = 1;
    run.rtt.p50_ns = 1e3 * number(row, "rtt_p50_us", 0);
    run.rtt.mean_ns = 1e3 * number(row, "rtt_mean_us", 0);
    if (c.clients == 16) {
      for (const auto& [us, count] : child(reference, "rtt_histogram_16_clients_us").items()) {
        const double low_ns = 1e3 * std::stod(us);
        run.rtt.bins.push_back({low_ns, low_ns + 1e3, count.get<double>()});
        run.rtt.max_ns = low_ns + 1e3;
      }
      run.rtt.count = 0;
      for (const Bin& bin : run.rtt.bins) run.rtt.count += bin.count;
    }
    point.runs.push_back(std::move(run));
    add_point(std::move(point), study);
  }
}

Outcome<Json> read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) return Failure{fmt::format("cannot read {}", path.string())};
  Json document = Json::parse(file, nullptr, false);
  if (document.is_discarded()) return Failure{fmt::format("{} is not JSON", path.string())};
  return document;
}

}  // namespace

const Json& published_reference() {
  static const Json kReference = Json::parse(kPublishedJson);
  return kReference;
}

Outcome<void> add_document(const Json& document, Study& study) {
  try {
    if (document.contains("rtt_by_clients")) {
      add_published(document, study);
      return {};
    }
    if (!document.contains("schema")) return Failure{"no result of benchkv"};
    if (document.at("schema") != 1) return Failure{"not of schema 1"};
    if (document.contains("points")) {
      for (const Json& point : document.at("points")) {
        if (const auto added = add_document(point, study); !added) return added;
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

void join(Study other, Study& study) {
  for (Series& series : other.series) {
    for (Point& point : series.points) add_point(std::move(point), study);
  }
  std::move(other.skipped.begin(), other.skipped.end(), std::back_inserter(study.skipped));
}

void arrange(Study& study) {
  for (Series& series : study.series) {
    std::sort(series.points.begin(), series.points.end(), [](const Point& a, const Point& b) {
      return a.conditions.customers() < b.conditions.customers();
    });
  }
  // A series is named by the settings in which it differs from some other one.
  std::set<std::string> telling = {"ranks"};
  for (const Series& series : study.series) {
    for (const auto& [key, value] : series.points.front().conditions.settings) {
      for (const Series& other : study.series) {
        const Conditions& c = other.points.front().conditions;
        if (c.published || series.points.front().conditions.published) continue;
        const auto same = std::find(c.settings.begin(), c.settings.end(), std::pair(key, value));
        if (same == c.settings.end()) telling.insert(key);
      }
    }
  }
  for (Series& series : study.series) {
    const Conditions& c = series.points.front().conditions;
    const std::string transport = c.transport == "none" ? "no network" : c.transport;
    series.name = c.published ? "published" : transport + (c.simulated ? " (simulated)" : "");
    for (const auto& [key, value] : c.settings) {
      if (key == "transport" || value.empty() || !telling.contains(key)) continue;
      series.name += key == "ranks" ? fmt::format(", {} rank{}", value, value == "1" ? "" : "s")
                                    : fmt::format(", {} {}", key, value);
    }
  }
}

Outcome<Study> read_study(const std::string& path) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    for (const auto& entry : fs::recursive_directory_iterator(path, error)) {
      if (entry.is_regular_file(error) && entry.path().extension() == ".json") {
        files.push_back(entry.path());
      }
    }
    std::sort(files.begin(), files.end());
  } else {
    files.emplace_back(path);
  }
  Study study;
  for (const fs::path& file : files) {
    const Outcome<Json> document = path == "published" ? published_reference() : read_json(file);
    const std::string problem =
        document ? add_document(*document, study).error : std::string(document.error);
    if (problem.empty()) continue;
    if (files.size() == 1) return Failure{fmt::format("{}: {}", file.string(), problem)};
    study.skipped.push_back(fmt::format("{}: {}", file.filename().string(), problem));
  }
  if (study.series.empty()) return Failure{fmt::format("{} holds no result of benchkv", path)};
  arrange(study);
  return study;
}

}  // namespace copykv::bench::analysis
