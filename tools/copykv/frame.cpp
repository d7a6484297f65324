// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/frame.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.hpp"
#include "shm/slot.hpp"
#include "tools/copykv/counters.hpp"

namespace copykv::tools {
namespace {

constexpr size_t kLabelColumns = 14;
constexpr size_t kBarColumns = 24;

std::string labelled(std::string_view label, std::string_view text) {
  return fmt::format("{:<{}}{}", label, kLabelColumns, text);
}

// Counters of one process only grow; a reader that comes in between may see them a little apart.
double rate(uint64_t before, uint64_t after, double seconds) {
  return after > before ? static_cast<double>(after - before) / seconds : 0;
}

using Pick = uint64_t (*)(const DaemonBlock& block, uint32_t index);

double sum_of_rates(const FrameInput& input, Pick pick, uint32_t index) {
  double sum = 0;
  for (size_t daemon = 0; daemon < input.after.daemons.size(); ++daemon) {
    sum += rate(pick(input.before.daemons[daemon], index), pick(input.after.daemons[daemon], index),
                input.seconds);
  }
  return sum;
}

std::string operations_line(const FrameInput& input) {
  const Pick by_op = [](const DaemonBlock& block, uint32_t op) { return block.by_op[op]; };
  double total = 0;
  std::string kinds;
  for (uint32_t op = kOpFirst; op <= kOpLast; ++op) {
    if (op == static_cast<uint32_t>(Op::ping)) continue;  // our own probe
    const double per_second = sum_of_rates(input, by_op, op);
    total += per_second;
    if (per_second > 0 || op <= static_cast<uint32_t>(Op::del)) {
      kinds += fmt::format("   {} {}", op_name(op), round_count(per_second));
    }
  }
  return labelled("operations/s", fmt::format("{:<8}{}", round_count(total), kinds));
}

std::string statuses_line(const FrameInput& input) {
  const Pick by_status = [](const DaemonBlock& block, uint32_t at) { return block.by_status[at]; };
  std::string text;
  for (uint8_t status = 1; status < kStatusCount; ++status) {
    const double per_second = sum_of_rates(input, by_status, status);
    if (per_second > 0) {
      text += fmt::format("{}{} {}", text.empty() ? "" : "   ",
                          to_string(static_cast<Status>(status)), round_count(per_second));
    }
  }
  return labelled("not ok/s", text.empty() ? "0" : text);
}

std::string probe_line(const ProbeReport& probe) {
  const Histogram& answers = probe.round_trip;
  std::string text;
  if (answers.count() > 0) {
    text = fmt::format("p50 {}   p99 {}   max {}   ({} pings of this program)",
                       round_duration(answers.percentile_ns(50)),
                       round_duration(answers.percentile_ns(99)), round_duration(answers.max_ns()),
                       answers.count());
  } else if (!probe.trouble.empty()) {
    text = "none: " + probe.trouble;
  } else {
    text = fmt::format("no answer for {}", round_duration(probe.waiting_ns));
  }
  return labelled("probe", text);
}

std::string memory_line(const Snapshot& now) {
  uint64_t used = 0;
  uint64_t items = 0;
  uint64_t budget = 0;
  for (const DaemonBlock& block : now.daemons) {
    used += block.item_bytes_used + block.index_bytes;
    items += block.items;
    budget += block.budget_bytes;
  }
  return labelled("memory",
                  fmt::format("{} {} of {}   {} items", render_bar(used, budget, kBarColumns),
                              round_bytes(used), round_bytes(budget), format_count(items)));
}

// The turns sampled between two snapshots.
PhaseHistogram difference(const PhaseHistogram& before, const PhaseHistogram& after) {
  PhaseHistogram between = after;
  for (uint32_t bucket = 0; bucket < PhaseHistogram::kBuckets; ++bucket) {
    between.counts[bucket] -= std::min(before.counts[bucket], after.counts[bucket]);
  }
  return between;
}

std::string daemon_line(const FrameInput& input, size_t daemon) {
  const DaemonBlock& before = input.before.daemons[daemon];
  const DaemonBlock& after = input.after.daemons[daemon];
  const double busy =
      100 * fraction(after.busy_turns - std::min(before.busy_turns, after.busy_turns),
                     after.turns - std::min(before.turns, after.turns));
  return fmt::format("{:>6} {:>10} {:>10} {:>6.1f} % {:>6} {:>7} {:>10} {:>10} {:>7}", daemon,
                     round_count(rate(before.requests, after.requests, input.seconds)),
                     round_count(rate(before.turns, after.turns, input.seconds)), busy, after.lanes,
                     after.lanes_parked,
                     round_duration(percentile_ns(difference(before.turn_ns, after.turn_ns), 99)),
                     round_duration(after.longest_turn_ns),
                     after.sleeping != 0 ? "asleep" : "awake");
}

}  // namespace

std::string render_bar(uint64_t part, uint64_t whole, size_t width) {
  const double filled = std::min(fraction(part, whole), 1.0) * static_cast<double>(width - 2);
  // What is there at all shows, and only what is full looks full.
  const auto marks = part == 0 ? 0 : std::max<size_t>(static_cast<size_t>(filled), 1);
  return fmt::format("[{}{}]", std::string(marks, '#'), std::string(width - 2 - marks, '.'));
}

std::vector<std::string> render_frame(const FrameInput& input, size_t columns) {
  const RankHeader& header = *input.after.header;
  const uint64_t up_ms = input.now_unix_ms - std::min(header.started_unix_ms, input.now_unix_ms);
  std::vector<std::string> lines;
  lines.push_back(fmt::format("copykv top   job {}   rank {} of {}   pid {}   up {}   clients {}",
                              input.job, header.rank, header.rank_count, input.pid,
                              round_duration(up_ms * kNanosPerMilli), header.clients_attached));
  lines.emplace_back();
  lines.push_back(operations_line(input));
  lines.push_back(statuses_line(input));
  lines.push_back(probe_line(input.probe));
  lines.push_back(memory_line(input.after));
  lines.emplace_back();
  lines.push_back(fmt::format("{:>6} {:>10} {:>10} {:>8} {:>6} {:>7} {:>10} {:>10} {:>7}", "daemon",
                              "requests/s", "turns/s", "busy", "lanes", "parked", "turn p99",
                              "longest", "state"));
  for (size_t daemon = 0; daemon < input.after.daemons.size(); ++daemon) {
    lines.push_back(daemon_line(input, daemon));
  }
  for (std::string& line : lines) {
    if (line.size() > columns) line.resize(columns);
  }
  return lines;
}

}  // namespace copykv::tools
