// SPDX-License-Identifier: Apache-2.0
// copykv ping: round trips to each daemon thread, without touching data.
#include <fmt/format.h>

#include <memory>

#include "base/clock.hpp"
#include "base/histogram.hpp"
#include "base/units.hpp"
#include "tools/copykv/session.hpp"
#include "tools/copykv/time_limit.hpp"

namespace copykv::tools {
namespace {

constexpr uint64_t kRoundTripsMax = 1'000'000'000;

Exit run(const Common& common, uint64_t round_trips) {
  if (round_trips == 0 || round_trips > kRoundTripsMax) {
    throw Failed(Exit::usage,
                 fmt::format("--count: '{}' is outside 1 to {}", round_trips, kRoundTripsMax));
  }
  Client client = attach(common);
  const SystemClock clock;
  for (uint32_t daemon = 0; daemon < client.info().daemon_threads; ++daemon) {
    Histogram round_trip;
    uint64_t fastest_ns = UINT64_MAX;
    const TimeLimit limit(common.timeout_ns, no_answer_line("ping", common));
    for (uint64_t i = 0; i < round_trips; ++i) {
      const uint64_t begin_ns = clock.now_ns();
      const Result result = client.ping(daemon);
      const uint64_t took_ns = clock.now_ns() - begin_ns;
      if (!result.ok()) throw failure_of(result, {});
      round_trip.record(took_ns);
      fastest_ns = took_ns < fastest_ns ? took_ns : fastest_ns;
      if (i % 1024 == 0) limit.restart();  // the limit is for one answer, not for all
    }
    write_out(fmt::format("rank {} daemon {}: {} round trips, min {}, p50 {}, max {}\n",
                          common.rank, daemon, format_count(round_trips),
                          round_duration(fastest_ns), round_duration(round_trip.percentile_ns(50)),
                          round_duration(round_trip.max_ns())));
    flush_out();
  }
  return Exit::done;
}

}  // namespace

void add_ping(Commands& commands) {
  auto round_trips = std::make_shared<uint64_t>(100);
  Command command =
      commands.add("ping", "measure round trips to the daemon: min, p50 and max",
                   [round_trips](const Common& common) { return run(common, *round_trips); });
  command.option("--count", *round_trips, "round trips to each daemon thread [100]");
}

}  // namespace copykv::tools
