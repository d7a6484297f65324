// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <iterator>

#include "base/units.hpp"
#include "bench/confidence.hpp"
#include "bench/hdr_log.hpp"
#include "bench/report.hpp"

namespace copykv::bench {
namespace {

using Out = std::back_insert_iterator<std::string>;

std::string plural(uint64_t count, std::string_view what) {
  const std::string_view ending = count == 1 ? "" : what.ends_with('s') ? "es" : "s";
  return fmt::format("{} {}{}", format_count(count), what, ending);
}

std::string arrival_text(const RunOptions& o) {
  switch (o.arrival) {
    case Arrival::constant:
      return fmt::format("open loop, constant {} ops/s", round_count(o.rate));
    case Arrival::poisson:
      return fmt::format("open loop, poisson {} ops/s", round_count(o.rate));
    case Arrival::closed:
      break;
  }
  return "closed loop";
}

void print_load(Out out, const Report& report) {
  const RunOptions& o = report.options;
  const std::string_view each = o.ranks > 1 ? " each" : "";
  if (report.profile) {
    fmt::format_to(out, "SIMULATED under virtual time, profile {} ({}), {} per daemon\n",
                   report.profile->name, report.profile->what,
                   plural(report.profile->network.send_queues, "send queue"));
  }
  fmt::format_to(out, "{}, {}{}, {}{}, depth {}, {}\n", plural(o.ranks, "rank"),
                 plural(o.daemon_threads, "daemon thread"), each,
                 plural(o.client_threads, o.client_processes ? "client process" : "client thread"),
                 each, o.queue_depth, arrival_text(o));
  fmt::format_to(out, "{}{} of {} B, values of {} B, {:g} % {}, {}, seed {}\n",
                 plural(o.key_range, "key"), o.ranks > 1 ? " of each rank," : "", o.key_bytes,
                 o.value_bytes, 100 * o.read_ratio,
                 o.modify ? "gets, else read-modify-writes" : "gets", o.distribution, o.seed);
  if (o.ranks > 1) {
    fmt::format_to(out, "between the ranks: {}, flush {}, operations on keys of the own rank: {}\n",
                   report.host.transport, o.flush, o.local_ratio);
  }
  if (o.backend == "null") {
    fmt::format_to(out, "no service (--backend null): what the load generator itself can do\n");
  }
  fmt::format_to(out, "{}, {} cores, {} {} build, commit {}\n", report.host.cpu, report.host.cores,
                 report.host.compiler, report.host.build_type, report.host.commit);
  fmt::format_to(out, "line round trip (p50)  {} ns before, {} ns after{}{}\n\n",
                 report.line_rtt_before.p50_ns, report.line_rtt_after.p50_ns,
                 report.line_rtt_note().empty() ? "" : "; ", report.line_rtt_note());
}

void print_row(Out out, std::string_view name, double ops_per_second, const Histogram& h) {
  fmt::format_to(out, "{:<14}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n", name,
                 round_count(ops_per_second),
                 round_duration(static_cast<uint64_t>(std::llround(h.mean_ns()))),
                 round_duration(h.percentile_ns(50)), round_duration(h.percentile_ns(90)),
                 round_duration(h.percentile_ns(99)), round_duration(h.percentile_ns(99.9)),
                 round_duration(h.max_ns()));
}

void print_header(Out out) {
  fmt::format_to(out, "{:<14}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "", "ops/s", "mean",
                 "p50", "p90", "p99", "p99.9", "max");
}

void print_series(Out out, std::string_view prefix, const Latencies& latencies, double seconds) {
  const auto row = [&](std::string_view name, const Histogram& histogram) {
    if (histogram.count() == 0) return;
    const double rate = seconds > 0 ? static_cast<double>(histogram.count()) / seconds : 0;
    print_row(out, fmt::format("{}{}", name, prefix), rate, histogram);
  };
  row("all", latencies.all());
  const bool remote =
      latencies.of(Series::get_remote).count() > 0 || latencies.of(Series::put_remote).count() > 0;
  if (!remote) {
    row("get", latencies.gets());
    row("put", latencies.puts());
    return;
  }
  row("get local", latencies.of(Series::get_local));
  row("get remote", latencies.of(Series::get_remote));
  row("put local", latencies.of(Series::put_local));
  row("put remote", latencies.of(Series::put_remote));
}

void print_together(Out out, const Report& report) {
  Latencies service;
  Latencies response;
  double seconds = 0;
  for (const RunResult& run : report.runs) {
    service += run.measured.service;
    response += run.measured.response;
    seconds += run.measured.seconds();
  }
  const bool open = report.options.arrival != Arrival::closed;
  print_series(out, open ? " service" : "", service, seconds);
  print_series(out, " response", response, seconds);
}

void print_confidence(Out out, const Report& report) {
  std::vector<double> rates;
  std::vector<double> p50s;
  for (const RunResult& run : report.runs) {
    rates.push_back(run.measured.ops_per_second());
    p50s.push_back(static_cast<double>(run.measured.service.all().percentile_ns(50)));
  }
  if (report.runs.size() < 2) {
    const MedianInterval inside = median_of_histogram(report.runs[0].measured.service.all());
    fmt::format_to(out,
                   "p50 inside the run: {:.0f} to {:.0f} ns (95 %, operations taken for "
                   "independent); --runs 6 shows what differs from run to run\n",
                   inside.low, inside.high);
    return;
  }
  const MedianInterval rate = median_of_runs(std::move(rates));
  const MedianInterval p50 = median_of_runs(std::move(p50s));
  fmt::format_to(out,
                 "median of {} runs: {} ops/s ({} to {}), p50 {:.0f} ns ({:.0f} to {:.0f}); the "
                 "interval holds the true median with {:.1f} %\n",
                 report.runs.size(), round_count(rate.median), round_count(rate.low),
                 round_count(rate.high), p50.median, p50.low, p50.high, 100 * rate.coverage);
}

void print_checks(Out out, const Report& report) {
  uint64_t verified = 0;
  uint64_t wrong = 0;
  uint64_t errors = 0;
  double residual = 0;
  for (const RunResult& run : report.runs) {
    verified += run.measured.reads_verified;
    wrong += run.measured.wrong_values;
    errors += run.measured.errors_total();
    residual = std::max(residual, run.measured.littles_law().residual);
  }
  const std::string checked = report.options.verify ? format_count(verified) : "no";
  fmt::format_to(out, "{} values verified, {} wrong; {}; Little's law within {:.2g} %\n", checked,
                 format_count(wrong), plural(errors, "error"), 100 * residual);
  if (report.runs.empty()) return;
  const RunResult& last = report.runs.back();
  if (last.measured.client_operations.size() > 1) {
    fmt::format_to(out, "slowest client of the last run: {:.0f} % of the mean\n",
                   100 * last.measured.slowest_client_share());
  }
}

// How the ranks came along, and what went between them.
void print_ranks(Out out, const Report& report) {
  const RunResult& last = report.runs.back();
  const RankBalance balance = balance_of(last.ranks);
  fmt::format_to(out, "{} of {} ranks reported; slowest {} ops/s, fastest {} ops/s ({:.0f} %)\n",
                 last.ranks.size(), report.options.ranks,
                 round_count(balance.slowest_ops_per_second),
                 round_count(balance.fastest_ops_per_second), 100 * balance.ratio());
  const Traffic traffic = traffic_of(last.daemons);
  const double seconds = last.measured.seconds();
  if (traffic.batches == 0 || seconds <= 0) return;
  fmt::format_to(out, "daemon to daemon: {:.1f} messages per batch, {} batches/s",
                 traffic.messages_per_batch(),
                 round_count(static_cast<double>(traffic.batches) / seconds));
  if (traffic.rtt.count() > 0) {
    fmt::format_to(out, ", call to answer p50 {}, p99 {}",
                   round_duration(traffic.rtt.percentile_ns(50)),
                   round_duration(traffic.rtt.percentile_ns(99)));
  }
  fmt::format_to(out, "\n");
}

void print_wrong(Out out, const WrongValue& wrong) {
  fmt::format_to(out, "WRONG DATA: client {} read key {}: {} B that nobody wrote under it:",
                 wrong.client, wrong.key, wrong.value_bytes);
  for (const char byte : wrong.value_start) {
    fmt::format_to(out, " {:02x}", static_cast<unsigned char>(byte));
  }
  fmt::format_to(out, "{}\n", wrong.value_start.size() < wrong.value_bytes ? " ..." : "");
}

}  // namespace

std::string to_table(const Report& report) {
  std::string text;
  const Out out = std::back_inserter(text);
  print_load(out, report);
  if (!report.runs.empty()) {
    print_header(out);
    for (size_t i = 0; i < report.runs.size() && report.runs.size() > 1; ++i) {
      const Measurement& measured = report.runs[i].measured;
      print_row(out, fmt::format("run {}", i + 1), measured.ops_per_second(),
                measured.service.all());
    }
    print_together(out, report);
    fmt::format_to(out, "\n");
    print_confidence(out, report);
    print_checks(out, report);
    if (report.options.ranks > 1) print_ranks(out, report);
    text += stations_table(report.runs.back());
  }
  for (const SloVerdict& slo : report.slos) fmt::format_to(out, "SLO {}\n", slo.line);
  for (size_t i = 0; i < report.runs.size(); ++i) {
    const RunResult& run = report.runs[i];
    for (const std::string& line : run.warnings) {
      fmt::format_to(out, "warning: run {}: {}\n", i + 1, line);
    }
    for (const std::string& line : run.failures) {
      fmt::format_to(out, "FAILED: run {}: {}\n", i + 1, line);
    }
    if (run.measured.first_wrong) print_wrong(out, *run.measured.first_wrong);
  }
  if (report.interrupted) fmt::format_to(out, "interrupted: the figures cover what was measured\n");
  return text;
}

std::string to_hgrm(const Report& report) {
  Latencies latencies;
  const bool open = report.options.arrival != Arrival::closed;
  for (const RunResult& run : report.runs) {
    latencies += open ? run.measured.response : run.measured.service;
  }
  return latencies.all().to_hgrm();
}

std::string to_hdr(const Report& report) {
  const bool open = report.options.arrival != Arrival::closed;
  std::vector<HdrInterval> intervals;
  double start_s = 0;
  for (const RunResult& run : report.runs) {
    const Measurement& m = run.measured;
    intervals.push_back({start_s, m.seconds(), (open ? m.response : m.service).all()});
    start_s += m.seconds();
  }
  return to_hdr_log(intervals);
}

}  // namespace copykv::bench
