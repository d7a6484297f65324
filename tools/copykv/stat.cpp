// SPDX-License-Identifier: Apache-2.0
// copykv stat: the counters since the start of the daemon, read without asking it.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include <nlohmann/json.hpp>

#include "base/units.hpp"
#include "shm/slot.hpp"
#include "tools/copykv/command.hpp"
#include "tools/copykv/counters.hpp"
#include "tools/copykv/rank_view.hpp"

namespace copykv::tools {
namespace {

void row(std::string_view name, std::string_view value) {
  write_out(fmt::format("  {:<24} {}\n", name, value));
}

void print_daemon(const DaemonBlock& block, uint32_t daemon, uint32_t rank_count) {
  write_out(fmt::format("daemon {}{}\n", daemon, block.sleeping != 0 ? " (asleep)" : ""));
  row("requests", format_count(block.requests));
  for (uint32_t op = kOpFirst; op <= kOpLast; ++op) {
    if (block.by_op[op] != 0) {
      row(fmt::format("  {}", op_name(op)), format_count(block.by_op[op]));
    }
  }
  for (uint8_t status = 1; status < kStatusCount; ++status) {
    if (block.by_status[status] != 0) {
      row(fmt::format("  {}", to_string(static_cast<Status>(status))),
          format_count(block.by_status[status]));
    }
  }
  row("requests per group", fmt::format("{:.1f}", fraction(block.requests, block.groups)));
  row("large transfers",
      fmt::format("{} ({})", format_count(block.transfers), round_bytes(block.transfer_bytes)));
  row("lanes", fmt::format("{} ({} parked)", block.lanes, block.lanes_parked));
  row("items", format_count(block.items));
  row("memory", fmt::format("{} items, {} index, {} of {} populated",
                            round_bytes(block.item_bytes_used), round_bytes(block.index_bytes),
                            round_bytes(block.populated_bytes), round_bytes(block.budget_bytes)));
  row("turns", fmt::format("{}, {:.1f} % busy", format_count(block.turns),
                           100 * fraction(block.busy_turns, block.turns)));
  row("turn (sampled)",
      fmt::format("p50 {}, p99 {}, longest {}", round_duration(percentile_ns(block.turn_ns, 50)),
                  round_duration(percentile_ns(block.turn_ns, 99)),
                  round_duration(block.longest_turn_ns)));
  row("sleeps, wakes sent",
      fmt::format("{}, {}", format_count(block.sleeps), format_count(block.wakes_sent)));
  row("bad sequences", format_count(block.bad_sequences));
  if (rank_count == 1) return;
  row("other ranks",
      fmt::format("{} daemons up, {} sessions ended, {} for what was sent", block.peers_up,
                  format_count(block.peers_failed), format_count(block.peer_violations)));
  row("requests to them",
      fmt::format("{}, {} answered, {} put off", format_count(block.remote_calls),
                  format_count(block.remote_answers), format_count(block.ring_full)));
  row("requests of theirs", format_count(block.inbound_requests));
  row("messages per batch",
      fmt::format("{:.1f}", fraction(block.messages_sent, block.batches_sent)));
  row("call to answer (sampled)",
      fmt::format("p50 {}, p99 {}", round_duration(percentile_ns(block.rtt_ns, 50)),
                  round_duration(percentile_ns(block.rtt_ns, 99))));
}

Exit run(const Common& common, bool as_json) {
  const RankView view = RankView::open(common);
  const Snapshot snapshot = view.take();
  const RankHeader& header = *snapshot.header;
  const uint64_t now_ms = unix_ms();
  if (as_json) {
    write_out(to_json(snapshot, common.job, view.info(), now_ms).dump(2) + "\n");
  } else {
    const uint64_t up_ms = now_ms - std::min(header.started_unix_ms, now_ms);
    write_out(fmt::format("job {} rank {} of {}, pid {}, up {}\n", common.job, header.rank,
                          header.rank_count, view.info().pid,
                          round_duration(up_ms * kNanosPerMilli)));
    row("clients attached", format_count(header.clients_attached));
    row("attaches", fmt::format("{} ({} refused)", format_count(header.attaches),
                                format_count(header.attaches_refused)));
    row("clients gone", format_count(header.clients_gone));
    row("bulk memory granted", round_bytes(header.bulk_bytes_granted));
    for (uint32_t daemon = 0; daemon < snapshot.daemons.size(); ++daemon) {
      print_daemon(snapshot.daemons[daemon], daemon, header.rank_count);
    }
  }
  flush_out();
  return Exit::done;
}

}  // namespace

void add_stat(Commands& commands) {
  auto as_json = std::make_shared<bool>(false);
  Command command =
      commands.add("stat", "show the counters since the daemon's start, also when it hangs",
                   [as_json](const Common& common) { return run(common, *as_json); });
  command.flag("--json", *as_json, "as JSON");
}

}  // namespace copykv::tools
