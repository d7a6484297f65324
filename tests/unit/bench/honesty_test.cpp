// SPDX-License-Identifier: Apache-2.0
// The generator against services whose distribution is known: percentiles within one bucket of the
// histogram of what was served, the asked rate, and Little's residual.
#include <algorithm>
#include <array>
#include <cmath>

#include <catch2/catch.hpp>

#include "bench/fake_backend.hpp"
#include "bench/worker.hpp"

namespace copykv::bench {
namespace {

struct Honest {
  Measurement measured{};
  Histogram truth{};  ///< service times that were drawn during the run
};

// Depth 1 and a server for each: an operation's latency is its service time.
Honest run(FakeBackend::ServiceTime service, Arrival arrival, double interval_ns,
           uint64_t duration_ns) {
  Honest honest;
  bool counting = false;
  FakeBackend backend(
      [&](Random& random, uint64_t start_ns) {
        const uint64_t ns = service(random, start_ns);
        if (counting) honest.truth.record(ns);
        return ns;
      },
      64);
  Workload workload;
  workload.sizes = *ValueSizes::parse("8");
  WorkerSetup setup;
  setup.queue_depth = arrival == Arrival::closed ? 1 : 32;
  setup.arrival = arrival;
  setup.interval_ns = interval_ns;
  LiveStats live;
  const uint32_t stop = 0;
  Worker worker(backend, backend, workload, setup, live, stop);
  REQUIRE(worker.preload() == Status::ok);
  counting = true;
  const uint64_t start_ns = backend.now_ns() + kNanosPerMilli;
  const uint64_t end_ns = start_ns + duration_ns;
  CHECK(worker.run({start_ns, end_ns, end_ns + duration_ns, end_ns + 2 * duration_ns},
                   honest.measured));
  return honest;
}

void check_percentiles(const Honest& honest) {
  const Histogram all = honest.measured.service.all();
  REQUIRE(all.count() == honest.truth.count());
  for (const double percent : {1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    INFO(percent);
    const auto reported = static_cast<int64_t>(Histogram::bucket_of(all.percentile_ns(percent)));
    const auto true_one =
        static_cast<int64_t>(Histogram::bucket_of(honest.truth.percentile_ns(percent)));
    CHECK(std::abs(reported - true_one) <= 1);
  }
}

const std::array kServices = {FakeBackend::constant(1500), FakeBackend::exponential(4000),
                              FakeBackend::two_peaks(6000, 14000, 0.82)};

}  // namespace

TEST_CASE("honest: percentiles of constant, exponential and two-peaked services") {
  for (const auto& service : kServices) {
    const Honest closed = run(service, Arrival::closed, 0, 200 * kNanosPerMilli);
    check_percentiles(closed);
    CHECK(closed.measured.littles_law().residual < 0.01);
    const Honest open = run(service, Arrival::poisson, 10'000, 500 * kNanosPerMilli);
    check_percentiles(open);
    CHECK(open.measured.littles_law().residual < 0.01);
  }
}

TEST_CASE("honest: the open loop comes at the asked rate, within 0.5 %") {
  for (const auto& service : kServices) {
    const Honest constant = run(service, Arrival::constant, 5'000, 500 * kNanosPerMilli);
    CHECK(constant.measured.ops_per_second() == Approx(200e3).epsilon(0.005));
    // Poisson: 400,000 arrivals scatter by 0.16 %.
    const Honest poisson = run(service, Arrival::poisson, 5'000, 2 * kNanosPerSecond);
    CHECK(poisson.measured.ops_per_second() == Approx(200e3).epsilon(0.005));
  }
}

TEST_CASE("honest: a stall of 100 ms is in the open loop's percentiles, at its true size") {
  constexpr uint64_t kFromNs = 400 * kNanosPerMilli;
  const auto stall = FakeBackend::stall(1500, kFromNs, kFromNs + 100 * kNanosPerMilli);
  const Honest open = run(stall, Arrival::constant, 20'000, kNanosPerSecond);
  const Histogram response = open.measured.response.all();
  // A tenth of all starts were due during the stall: p95 waited for half of it, p99 for 90 %.
  CHECK(static_cast<double>(response.percentile_ns(95)) == Approx(50e6).epsilon(0.02));
  CHECK(static_cast<double>(response.percentile_ns(99)) == Approx(90e6).epsilon(0.02));
  CHECK(response.percentile_ns(89) < 10'000);
  CHECK(open.measured.littles_law().residual < 0.01);
  CHECK(open.measured.unsent == 0);
  // Nothing is answered meanwhile, and then all that had to wait.
  const uint64_t lasted_ns = open.measured.end_ns - open.measured.start_ns;
  const auto slices = open.measured.over_time.slices(lasted_ns);
  const auto silent = [](const RateOverTime::Slice& slice) { return slice.per_second == 0; };
  CHECK(std::count_if(slices.begin(), slices.end(), silent) == Approx(100e6 / 8388608).margin(1));
  const auto first = std::find_if(slices.begin(), slices.end(), silent);
  REQUIRE(first != slices.end());
  CHECK(first->middle_s == Approx(0.4).margin(0.013));
}

}  // namespace copykv::bench
