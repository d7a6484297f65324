// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/frame.hpp"

#include <algorithm>
#include <memory>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tools/copykv/counters.hpp"

using namespace copykv;
using namespace copykv::tools;

namespace {

Snapshot make_snapshot(size_t daemon_count) {
  Snapshot snapshot;
  snapshot.header = std::make_unique<RankHeader>();
  snapshot.header->rank_count = 1;
  snapshot.header->started_unix_ms = 1'000'000;
  snapshot.header->clients_attached = 3;
  snapshot.daemons.resize(daemon_count);
  for (DaemonBlock& block : snapshot.daemons) {
    block = DaemonBlock{};
    block.budget_bytes = 4096;
  }
  return snapshot;
}

// The line that begins with `label`.
std::string line_of(const std::vector<std::string>& lines, std::string_view label) {
  const auto found = std::find_if(lines.begin(), lines.end(),
                                  [&](const auto& line) { return line.starts_with(label); });
  return found == lines.end() ? "no line " + std::string(label) : *found;
}

}  // namespace

TEST_CASE("percentiles of phases: upper end of the bucket, at most the maximum", "[counters]") {
  auto histogram = std::make_unique<PhaseHistogram>();
  *histogram = {};
  CHECK(percentile_ns(*histogram, 50) == 0);
  for (uint64_t value_ns = 1; value_ns <= 20; ++value_ns) histogram->record(value_ns);
  CHECK(percentile_ns(*histogram, 50) == 10);
  CHECK(percentile_ns(*histogram, 100) == 20);
  CHECK(percentile_ns(*histogram, 0) == 1);
  histogram->record(1'000'000);
  CHECK(percentile_ns(*histogram, 100) == 1'000'000);
}

TEST_CASE("rates are differences over time, without the pings of the probe", "[frame]") {
  const Snapshot before = make_snapshot(2);
  Snapshot after = make_snapshot(2);
  for (DaemonBlock& block : after.daemons) {
    block.by_op[static_cast<uint32_t>(Op::get)] = 2000;
    block.by_op[static_cast<uint32_t>(Op::put)] = 500;
    block.by_op[static_cast<uint32_t>(Op::ping)] = 77'000;
    block.by_status[static_cast<uint32_t>(Status::not_found)] = 40;
    block.requests = 79'500;
    block.turns = 1000;
    block.busy_turns = 250;
    block.item_bytes_used = 1000;
    block.index_bytes = 24;
    block.items = 21;
    block.lanes = 9;
  }
  after.daemons[1].sleeping = 1;
  ProbeReport probe;
  probe.round_trip.record_n(1000, 99);
  probe.round_trip.record(50'000);
  const auto lines = render_frame({"demo", 42, 1'005'000, before, after, 2.0, probe}, 200);

  CHECK_THAT(lines.front(), Catch::Contains("job demo") && Catch::Contains("pid 42") &&
                                Catch::Contains("up 5.00 s") && Catch::Contains("clients 3"));
  CHECK_THAT(line_of(lines, "operations/s"),
             Catch::Contains("2.50 k") && Catch::Contains("get 2.00 k") &&
                 Catch::Contains("put 500") && !Catch::Contains("ping"));
  CHECK_THAT(line_of(lines, "not ok/s"), Catch::Contains("not_found 40"));
  CHECK_THAT(line_of(lines, "probe"), Catch::Contains("p50 1.00 us") &&
                                          Catch::Contains("max 50.0 us") &&
                                          Catch::Contains("100 pings"));
  CHECK_THAT(line_of(lines, "memory"),
             Catch::Contains("2.00 KiB of 8.00 KiB") && Catch::Contains("42 items"));
  CHECK_THAT(line_of(lines, "     0"), Catch::Contains("25.0 %") && Catch::Contains("awake"));
  CHECK_THAT(line_of(lines, "     1"), Catch::Contains("500") && Catch::Contains("asleep"));
}

TEST_CASE("a frame says that the probe has no answer, and fits the screen", "[frame]") {
  const Snapshot snapshot = make_snapshot(1);
  ProbeReport probe;
  probe.waiting_ns = 3'200'000'000;
  const auto lines = render_frame({"demo", 42, 0, snapshot, snapshot, 1.0, probe}, 40);
  CHECK_THAT(line_of(lines, "probe"), Catch::Contains("no answer for 3.20 s"));
  for (const std::string& line : lines) CHECK(line.size() <= 40);

  probe.trouble = "attaching";
  const auto troubled = render_frame({"demo", 42, 0, snapshot, snapshot, 1.0, probe}, 80);
  CHECK_THAT(line_of(troubled, "probe"), Catch::Contains("attaching"));
}

TEST_CASE("the bar is empty, full, or in between", "[frame]") {
  CHECK(render_bar(0, 100, 12) == "[..........]");
  CHECK(render_bar(1, 100, 12) == "[#.........]");
  CHECK(render_bar(50, 100, 12) == "[#####.....]");
  CHECK(render_bar(99, 100, 12) == "[#########.]");
  CHECK(render_bar(100, 100, 12) == "[##########]");
  CHECK(render_bar(150, 100, 12) == "[##########]");
  CHECK(render_bar(1, 0, 12) == "[#.........]");
}

TEST_CASE("stat's JSON has every operation and status by name", "[counters]") {
  Snapshot snapshot = make_snapshot(2);
  snapshot.daemons[1].by_op[static_cast<uint32_t>(Op::touch)] = 5;
  snapshot.daemons[1].by_status[static_cast<uint32_t>(Status::no_space)] = 6;
  const auto document =
      to_json(snapshot, "demo", {.pid = 42, .rank_page_fd = 3, .epoch = 7}, 1'002'500);
  CHECK(document["schema"] == 1);
  CHECK(document["job"] == "demo");
  CHECK(document["pid"] == 42);
  CHECK(document["uptime_seconds"] == 2.5);
  REQUIRE(document["daemons"].size() == 2);
  CHECK(document["daemons"][1]["by_op"]["touch"] == 5);
  CHECK(document["daemons"][1]["by_status"]["no_space"] == 6);
  CHECK(document["daemons"][0]["by_op"].size() == kOpLast);
  CHECK(document["daemons"][0]["by_status"].size() == kStatusCount);
  CHECK(document["daemons"][0]["phase_ns"].size() == kPhaseCount);
}
