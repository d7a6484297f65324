// SPDX-License-Identifier: Apache-2.0
// A rank other than 0.
#include <fmt/format.h>

#include <cstdio>

#include "bench/interrupt.hpp"
#include "bench/order.hpp"
#include "bench/rank_session.hpp"
#include "bench/run_control.hpp"

namespace copykv::bench {
namespace {

// Rank 0 may wait for others, which may have keys to load, before it says what comes next.
constexpr uint64_t kOrderWithinNs = 600 * kNanosPerSecond;
constexpr uint64_t kEndWithinNs = 10 * kNanosPerSecond;

// Until rank 0 says that it is over.
Outcome<void> take_part(RankSession& session, uint32_t clients) {
  Team& team = session.team();
  const Outcome<void> loaded = session.load();
  if (auto told = team.deliver(loaded.error); !told) return told;
  session.expect_all_ranks();
  const std::string boot = boot_id();
  for (;;) {
    const Outcome<std::string> note = team.await(kOrderWithinNs);
    if (!note) return Failure{note.error};
    const std::optional<Order> order = Order::unpack(*note);
    if (!order) return Failure{"rank 0 announced something that makes no sense"};
    if (!order->run) return team.deliver({});  // rank 0 keeps the board up until then
    const uint64_t start_ns =
        start_of(*order, boot, session.clock().now_ns(), Crew::lead_ns(clients));
    const RunResult result = session.run(start_ns, order->duration_ns, "run");
    if (auto told = team.deliver(encode(result)); !told) return told;
  }
}

void explain(const RunOptions& options, const std::string& line) {
  if (!interrupted()) fmt::print(stderr, "benchkv: rank {}: {}\n", options.rank, line);
}

}  // namespace

int follow(const RunOptions& options) {
  auto session = RankSession::start(options, [] { return std::string(); });
  if (!session) {
    explain(options, session.error);
    return kExitRunFailed;
  }
  const Outcome<void> done = take_part(**session, options.client_threads);
  // With the next point of a sweep in mind: its rank 0 must not meet the daemons of this one.
  if (done && options.launched) (*session)->team().await_end_of_rank_0(kEndWithinNs);
  const Outcome<void> stopped = (*session)->stop();
  if (!done) explain(options, done.error);
  if (!stopped) explain(options, stopped.error);
  // From here on rank 0 speaks for all: it misses the result. A launcher that saw this rank fail
  // would end rank 0 before it could say so.
  if (options.launched) return kExitOk;
  return done && stopped ? kExitOk : kExitRunFailed;
}

}  // namespace copykv::bench
