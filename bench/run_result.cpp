// SPDX-License-Identifier: Apache-2.0
#include "bench/run_result.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/units.hpp"
#include "bench/codec.hpp"

namespace copykv::bench {
namespace {

template <class T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

void encode_lines(Encoder& out, const std::vector<std::string>& lines) {
  out.number(lines.size());
  for (const std::string& line : lines) out.string(line);
}

std::vector<std::string> decode_lines(Decoder& in) {
  std::vector<std::string> lines;
  const uint64_t count = in.number();
  for (uint64_t i = 0; i < count && !in.cut(); ++i) lines.push_back(in.string());
  return lines;
}

// The identity holds or it does not: nothing about the machine can excuse it, except that an
// overloaded open loop ends before its last answers.
void judge_littles_law(const RunOptions& options, RunResult& run) {
  const double residual = run.measured.littles_law().residual;
  const std::string line = fmt::format(
      "Little's law is off by {:.2f} %: operations were lost or counted twice", 100 * residual);
  if (residual > kResidualFails && options.arrival == Arrival::closed) {
    run.failures.push_back(line);
  } else if (residual > kResidualWarns) {
    run.warnings.push_back(line);
  }
}

}  // namespace

RankBalance balance_of(const std::vector<RankShare>& ranks) noexcept {
  if (ranks.empty()) return {};
  const auto slower = [](const RankShare& a, const RankShare& b) {
    return a.ops_per_second < b.ops_per_second;
  };
  const auto [slowest, fastest] = std::minmax_element(ranks.begin(), ranks.end(), slower);
  return {slowest->ops_per_second, fastest->ops_per_second};
}

RunResult& RunResult::operator+=(const RunResult& other) {
  measured += other.measured;
  samples += other.samples;
  append(daemons, other.daemons);
  append(ranks, other.ranks);
  append(failures, other.failures);
  append(warnings, other.warnings);
  may_go_on = may_go_on && other.may_go_on;
  return *this;
}

std::string encode(const RunResult& result) {
  Encoder out;
  out.string(encode(result.measured)).number(result.daemons.size());
  for (const DaemonSample& daemon : result.daemons) encode(out, daemon);
  out.number(result.ranks.size());
  for (const RankShare& share : result.ranks) {
    out.number(share.rank).number(share.operations);
    out.number(std::bit_cast<uint64_t>(share.ops_per_second));
  }
  encode_lines(out, result.failures);
  encode_lines(out, result.warnings);
  out.number(result.may_go_on);
  encode(out, result.samples);
  return out.take();
}

std::optional<RunResult> decode_result(std::string_view bytes) {
  Decoder in(bytes);
  RunResult result;
  std::optional<Measurement> measured = decode(in.string());
  if (!measured) return std::nullopt;
  result.measured = std::move(*measured);
  const uint64_t daemons = in.number();
  for (uint64_t i = 0; i < daemons && !in.cut(); ++i) result.daemons.push_back(decode_daemon(in));
  const uint64_t ranks = in.number();
  for (uint64_t i = 0; i < ranks && !in.cut(); ++i) {
    const auto rank = static_cast<uint32_t>(in.number());
    const uint64_t operations = in.number();
    result.ranks.push_back({rank, operations, std::bit_cast<double>(in.number())});
  }
  result.failures = decode_lines(in);
  result.warnings = decode_lines(in);
  result.may_go_on = in.number() != 0;
  result.samples = decode_stations(in);
  if (in.cut()) return std::nullopt;
  return result;
}

void judge_run(const RunOptions& options, RunResult& run) {
  const Measurement& measured = run.measured;
  const uint64_t clients = uint64_t{options.client_threads} * options.ranks;
  if (measured.client_operations.size() < clients) {
    run.failures.push_back(
        fmt::format("{} of {} clients reported", measured.client_operations.size(), clients));
  }
  if (measured.errors_total() > 0) {
    run.failures.push_back(fmt::format("{} of {} operations failed",
                                       format_count(measured.errors_total()),
                                       format_count(measured.operations)));
  }
  if (measured.operations == 0 && !measured.interrupted) {
    run.failures.push_back("no operation was answered");
  }
  if (measured.unsent > 0) {
    run.failures.push_back(
        fmt::format("the rate is beyond what the service takes: {} starts that were due within the "
                    "run had not come when it had lasted twice as long",
                    format_count(measured.unsent)));
  }
  if (measured.operations > 0) judge_littles_law(options, run);
}

}  // namespace copykv::bench
