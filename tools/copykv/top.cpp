// SPDX-License-Identifier: Apache-2.0
// copykv top: what a rank does now, drawn again and again.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/clock.hpp"
#include "base/units.hpp"
#include "tools/copykv/counters.hpp"
#include "tools/copykv/frame.hpp"
#include "tools/copykv/terminal.hpp"

namespace copykv::tools {
namespace {

constexpr uint64_t kIntervalNsMin = 100 * kNanosPerMilli;

struct Arguments {
  std::string interval = "1s";
  bool once = false;
};

uint64_t interval_ns(const Arguments& arguments) {
  const auto parsed = parse_duration_ns(arguments.interval);
  if (!parsed) throw Failed(Exit::usage, "--interval: " + parsed.error);
  if (*parsed < kIntervalNsMin || *parsed > 3600 * kNanosPerSecond) {
    throw Failed(Exit::usage,
                 fmt::format("--interval: '{}' is outside 100ms to 1h", arguments.interval));
  }
  return *parsed;
}

void draw_until_left(const Common& common, const Arguments& arguments, const RankView& view,
                     Probe& probe, const Screen& screen) {
  const SystemClock clock;
  const uint64_t interval = interval_ns(arguments);
  Snapshot before = view.take();
  uint64_t before_ns = clock.now_ns();
  // The first rates come soon, the others at the interval asked for.
  uint64_t wait_ns = arguments.once ? interval : std::min(interval, 3 * kIntervalNsMin);
  while (screen.wait(wait_ns)) {
    if (!view.daemon_lives()) {
      throw Failed(Exit::no_daemon,
                   fmt::format("the daemon (process {}) is gone; start `copykvd`, then top again",
                               view.info().pid));
    }
    Snapshot after = view.take();
    const uint64_t after_ns = clock.now_ns();
    const ProbeReport report = probe.take();
    screen.draw(render_frame(
        {common.job, view.info().pid, unix_ms(), before, after,
         static_cast<double>(after_ns - before_ns) / static_cast<double>(kNanosPerSecond), report},
        screen.columns()));
    if (arguments.once) return;
    before = std::move(after);
    before_ns = after_ns;
    wait_ns = interval;
  }
}

Exit run(const Common& common, const Arguments& arguments) {
  (void)interval_ns(arguments);
  const RankView view = RankView::open(common);
  const Screen screen(!arguments.once);
  Probe probe(common);  // after Screen: its thread must not take the signals
  draw_until_left(common, arguments, view, probe, screen);
  return Exit::done;
}

}  // namespace

void add_top(Commands& commands) {
  auto arguments = std::make_shared<Arguments>();
  Command command =
      commands.add("top", "watch the rank live; q leaves",
                   [arguments](const Common& common) { return run(common, *arguments); });
  command.option("--interval", arguments->interval, "time between two frames [1s]");
  command.flag("--once", arguments->once, "print one frame and exit");
}

}  // namespace copykv::tools
