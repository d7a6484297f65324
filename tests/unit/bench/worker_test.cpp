// SPDX-License-Identifier: Apache-2.0
// The load generator held to its promises: what it reports about a service whose times are known.
#include "bench/worker.hpp"

#include <catch2/catch.hpp>

#include "base/clock.hpp"
#include "bench/fake_backend.hpp"

namespace copykv::bench {
namespace {

struct Trial {
  Workload workload{};
  WorkerSetup setup{};
  uint64_t duration_ns = 100 * kNanosPerMilli;

  Trial() { workload.sizes = *ValueSizes::parse("8"); }

  Measurement run(FakeBackend& backend) {
    LiveStats live;
    const uint32_t stop = 0;
    Worker worker(backend, backend, workload, setup, live, stop);
    REQUIRE(worker.preload() == Status::ok);
    Measurement measured;
    const uint64_t start_ns = backend.now_ns() + kNanosPerMilli;
    const uint64_t end_ns = start_ns + duration_ns;
    CHECK(worker.run({start_ns, end_ns, end_ns + duration_ns, end_ns + 2 * duration_ns}, measured));
    CHECK(live.operations == measured.operations);
    return measured;
  }
};

}  // namespace

TEST_CASE("closed loop: constant service times are reported exactly") {
  FakeBackend backend(FakeBackend::constant(1000), 64);
  Trial trial;
  trial.setup.queue_depth = 4;
  const Measurement measured = trial.run(backend);
  CHECK(measured.operations == 400'000);
  CHECK(measured.service.all().max_ns() == 1000);
  CHECK(measured.service.all().percentile_ns(50) == 1000);
  CHECK(measured.service.all().count() == measured.operations);
  CHECK(measured.response.all().count() == 0);
  CHECK(measured.littles_law().in_flight_mean == Approx(4.0));
  CHECK(measured.littles_law().residual < 1e-9);
  CHECK(measured.errors_total() == 0);
  CHECK(measured.wrong_values == 0);
  CHECK(measured.reads_verified == measured.service.gets().count());
}

TEST_CASE("closed loop: percentiles and the mean of exponential service times") {
  FakeBackend backend(FakeBackend::exponential(2000), 64);
  Trial trial;
  trial.setup.queue_depth = 8;
  const Histogram all = trial.run(backend).service.all();
  CHECK(all.mean_ns() == Approx(2000).epsilon(0.01));
  CHECK(static_cast<double>(all.percentile_ns(50)) == Approx(2000 * std::log(2.0)).epsilon(0.01));
  CHECK(static_cast<double>(all.percentile_ns(99)) == Approx(2000 * std::log(100.)).epsilon(0.02));
}

TEST_CASE("closed loop: one server makes a queue, and Little's law holds") {
  FakeBackend backend(FakeBackend::exponential(500), 1);
  Trial trial;
  trial.setup.queue_depth = 16;
  const Measurement measured = trial.run(backend);
  // The server is never idle: X = 1/S, and every operation waits for those before it.
  CHECK(measured.ops_per_second() == Approx(2e6).epsilon(0.01));
  CHECK(measured.service.all().mean_ns() == Approx(16 * 500).epsilon(0.01));
  CHECK(measured.littles_law().in_flight_mean == Approx(16).epsilon(0.001));
  CHECK(measured.littles_law().residual < 1e-6);
}

TEST_CASE("closed loop: two peaks stay two peaks") {
  FakeBackend backend(FakeBackend::two_peaks(1000, 9000, 0.1), 64);
  Trial trial;
  const Histogram all = trial.run(backend).service.all();
  CHECK(all.percentile_ns(50) == 1000);
  CHECK(all.percentile_ns(89) == 1000);
  CHECK(all.percentile_ns(91) == Approx(9000).epsilon(0.001));
}

TEST_CASE("a full backend delays operations and loses none") {
  FakeBackend backend(FakeBackend::constant(1000), 64);
  backend.room = 3;
  Trial trial;
  trial.setup.queue_depth = 8;
  const Measurement measured = trial.run(backend);
  CHECK(measured.operations == 300'000);
  CHECK(measured.errors_total() == 0);
  CHECK(measured.littles_law().in_flight_mean == Approx(3.0));
}

TEST_CASE("open loop: a stall shows in the response time of all it delayed, not in service time") {
  constexpr uint64_t kStallFromNs = 500 * kNanosPerMilli;
  constexpr uint64_t kStallNs = 100 * kNanosPerMilli;
  for (const Arrival arrival : {Arrival::constant, Arrival::poisson}) {
    FakeBackend backend(FakeBackend::stall(1000, kStallFromNs, kStallFromNs + kStallNs), 1);
    Trial trial;
    trial.duration_ns = kNanosPerSecond;
    trial.setup.arrival = arrival;
    trial.setup.interval_ns = 10'000;
    const Measurement measured = trial.run(backend);
    const Histogram service = measured.service.all();
    const Histogram response = measured.response.all();
    CHECK(static_cast<double>(measured.operations) == Approx(100'000).epsilon(0.02));
    CHECK(measured.unsent == 0);
    // Service: one operation met the stall. Response: the tenth that was due during it did.
    CHECK(service.percentile_ns(99.9) <= 1001);
    CHECK(service.max_ns() >= kStallNs / 100 * 99);
    CHECK(response.count() == service.count());
    CHECK(static_cast<double>(response.percentile_ns(95)) == Approx(55e6).epsilon(0.05));
    CHECK(response.percentile_ns(80) < 100'000);
    CHECK(response.max_ns() >= kStallNs / 100 * 99);
  }
}

TEST_CASE("closed loop: the same stall hides, which is why the loops are told apart") {
  FakeBackend backend(FakeBackend::stall(1000, 500 * kNanosPerMilli, 600 * kNanosPerMilli), 1);
  Trial trial;
  trial.duration_ns = kNanosPerSecond;
  CHECK(trial.run(backend).service.all().percentile_ns(99.99) == 1000);
}

TEST_CASE("open loop: arrivals come at the asked rate, constant evenly and poisson as poisson") {
  for (const Arrival arrival : {Arrival::constant, Arrival::poisson}) {
    FakeBackend backend(FakeBackend::constant(100), 1);
    Trial trial;
    trial.setup.arrival = arrival;
    trial.setup.interval_ns = 200;
    trial.setup.queue_depth = 64;
    const Measurement measured = trial.run(backend);
    CHECK(measured.ops_per_second() == Approx(5e6).epsilon(0.01));
    // M/D/1 at half load waits rho S / (2 (1 - rho)) = 50 ns on average; D/D/1 never waits.
    const double waits_ns = measured.response.all().mean_ns() - 100;
    CHECK(waits_ns == Approx(arrival == Arrival::poisson ? 50 : 0).margin(3));
  }
}

TEST_CASE("open loop: a service that cannot take the rate is shown, not waited for for ever") {
  FakeBackend backend(FakeBackend::constant(1000), 1);
  Trial trial;
  trial.setup.arrival = Arrival::constant;
  trial.setup.interval_ns = 250;  // four times what the server can do
  const Measurement measured = trial.run(backend);
  CHECK(measured.unsent == Approx(2e5).epsilon(0.01));
  CHECK(measured.ops_per_second() == Approx(1e6).epsilon(0.01));
  CHECK(measured.response.all().max_ns() > trial.duration_ns);
}

TEST_CASE("every corrupted answer is counted and the first one shown") {
  FakeBackend backend(FakeBackend::constant(1000), 1);
  uint64_t reads = 0;
  backend.spoil = [&](std::string& value) {
    if (++reads % 100 == 0) value[3] = static_cast<char>(value[3] ^ 1);
  };
  Trial trial;
  trial.workload.sizes = *ValueSizes::parse("64");
  const Measurement measured = trial.run(backend);
  CHECK(measured.reads_verified == reads);
  CHECK(measured.wrong_values == reads / 100);
  REQUIRE(measured.first_wrong);
  CHECK(measured.first_wrong->key.size() == 8);
  CHECK(measured.first_wrong->value_bytes == 64);
  CHECK(measured.first_wrong->value_start.size() == 64);
}

TEST_CASE("verification can be switched off") {
  FakeBackend backend(FakeBackend::constant(1000), 1);
  backend.spoil = [](std::string& value) { value[0] = static_cast<char>(value[0] ^ 1); };
  Trial trial;
  trial.setup.verify = false;
  const Measurement measured = trial.run(backend);
  CHECK(measured.reads_verified == 0);
  CHECK(measured.wrong_values == 0);
}

TEST_CASE("a read-modify-write is a get and then a put of the same key") {
  FakeBackend backend(FakeBackend::constant(1000), 64);
  Trial trial;
  trial.workload.modify = true;
  trial.workload.read_ratio = 0;
  trial.setup.queue_depth = 4;
  const Measurement measured = trial.run(backend);
  const uint64_t gets = measured.service.gets().count();
  const uint64_t puts = measured.service.puts().count();
  CHECK(gets + puts == measured.operations);
  CHECK(gets - puts <= 4);
  CHECK(measured.littles_law().residual < 1e-6);
}

TEST_CASE("keys that were lost are errors by name") {
  FakeBackend backend(FakeBackend::constant(1000), 1);
  Trial trial;
  LiveStats live;
  const uint32_t stop = 0;
  trial.workload.read_ratio = 1;
  Worker worker(backend, backend, trial.workload, trial.setup, live, stop);
  Measurement measured;
  CHECK(worker.run({0, 1'000'000, 1'000'000, 2'000'000}, measured));  // nothing was loaded
  CHECK(measured.errors[static_cast<size_t>(Status::not_found)] == measured.operations);
  CHECK(live.errors == measured.operations);
}

TEST_CASE("stop ends a run early and says so") {
  FakeBackend backend(FakeBackend::constant(1000), 1);
  Trial trial;
  LiveStats live;
  const uint32_t stop = 1;
  for (const Arrival arrival : {Arrival::closed, Arrival::constant}) {
    trial.setup.arrival = arrival;
    trial.setup.interval_ns = 1000;
    Worker worker(backend, backend, trial.workload, trial.setup, live, stop);
    Measurement measured;
    CHECK(worker.run({0, kNanosPerSecond, kNanosPerSecond, kNanosPerSecond}, measured));
    CHECK(measured.interrupted);
    CHECK(measured.operations == 0);
    CHECK(measured.unsent == 0);
  }
}

}  // namespace copykv::bench
