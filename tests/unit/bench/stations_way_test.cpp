// SPDX-License-Identifier: Apache-2.0
// The whole way of sampled requests: marked by the library, stamped on both sides by what stands
// between engine and network, joined and aligned by benchkv. Real engines, simulated network and
// time, clocks of the ranks apart.
#include <memory>
#include <string>

#include <catch2/catch.hpp>

#include "bench/sampler.hpp"
#include "bench/stations.hpp"
#include "daemon/station_network.hpp"
#include "tests/unit/daemon/ranks_scene.hpp"

namespace copykv::bench {
namespace {

using test::RanksScene;

constexpr uint64_t kAheadNs = 1'000'000;  // the clock of rank 1
constexpr uint32_t kDepth = 16;

class ShiftedClock final : public Clock {
 public:
  ShiftedClock(const Clock& clock, uint64_t ahead_ns) : clock_(clock), ahead_ns_(ahead_ns) {}
  [[nodiscard]] uint64_t now_ns() const noexcept override { return clock_.now_ns() + ahead_ns_; }

 private:
  const Clock& clock_;
  uint64_t ahead_ns_;
};

/// Two ranks that stamp.
class Scene {
 public:
  explicit Scene(const std::string& flush) : policy_(*copyrpc::FlushPolicy::parse(flush)) {
    RanksScene::Options options;
    options.depth = kDepth;
    options.node.flush = policy_;
    options.through = [this](uint32_t rank, RpcNetwork& network) -> Network& {
      stamped_[rank] = std::make_unique<StationNetwork>(
          network, *rings_[rank], policy_.kind == copyrpc::FlushPolicy::Kind::call, clocks_[rank]);
      return *stamped_[rank];
    };
    ranks_ = std::make_unique<RanksScene>(options);
    source_.clock = &ranks_->clock;
  }

  RanksScene& ranks() { return *ranks_; }
  StationRing& ring(uint32_t rank) { return *rings_[rank]; }

  /// `rounds` times `kDepth` operations of each rank's client on keys of the other, every `every`th
  /// sampled; what was made of them.
  RealStationReport run(uint32_t rounds, uint32_t every, const std::string& value) {
    StationSamples samples;
    std::array<Sampler, 2> samplers = {Sampler(ranks_->client(0), every),
                                       Sampler(ranks_->client(1), every)};
    for (Sampler& sampler : samplers) sampler.begin();
    for (uint32_t round = 0; round < rounds; ++round) ask(samplers, round, value);
    for (uint32_t rank = 0; rank < 2; ++rank) {
      Measurement measured;
      samplers[rank].end(measured);
      const auto records = rings_[rank]->read(0);
      samples += join_clients(rank, {&records, 1}, measured.sampled, measured.samples);
    }
    return add_up(samples);
  }

 private:
  struct Source final : Clock {
    const Clock* clock = nullptr;  // not before there is a scene
    [[nodiscard]] uint64_t now_ns() const noexcept override {
      return clock == nullptr ? 0 : clock->now_ns();
    }
  };

  void ask(std::array<Sampler, 2>& samplers, uint32_t round, const std::string& value) {
    std::array<uint64_t, 2> published_ns{};
    for (uint32_t rank = 0; rank < 2; ++rank) {
      ranks_->rank(rank).ends.clear();
      ranks_->rank(rank).values.clear();
      published_ns[rank] = clocks_[rank].now_ns();
      for (uint32_t place = 0; place < kDepth; ++place) {
        const std::string key = ranks_->key_of(1 - rank, std::to_string(place % 5));
        samplers[rank].before(true, key);
        Client& client = ranks_->client(rank);
        const Status status = (round + place) % 3 == 0 ? client.submit_put(key, value, place)
                                                       : client.submit_get(key, place);
        samplers[rank].after(status, place);
        REQUIRE(status == Status::ok);
      }
    }
    REQUIRE(ranks_->settle());
    for (uint32_t rank = 0; rank < 2; ++rank) {
      REQUIRE(ranks_->rank(rank).ends.size() == kDepth);
      for (const auto& [place, status] : ranks_->rank(rank).ends) {
        samplers[rank].seen(static_cast<uint32_t>(place), published_ns[rank],
                            clocks_[rank].now_ns());
      }
    }
  }

  copyrpc::FlushPolicy policy_;
  Source source_{};
  std::array<ShiftedClock, 2> clocks_{ShiftedClock(source_, 0), ShiftedClock(source_, kAheadNs)};
  std::array<std::unique_ptr<StationRing>, 2> rings_{std::make_unique<StationRing>(),
                                                     std::make_unique<StationRing>()};
  std::array<std::unique_ptr<StationNetwork>, 2> stamped_{};
  std::unique_ptr<RanksScene> ranks_{};
};

void check_sums(const RealStationReport& report) {
  uint64_t sum_ns = 0;
  for (const Histogram& part : report.parts) {
    REQUIRE(part.count() == report.total.count());
    sum_ns += part.sum_ns();
  }
  REQUIRE(sum_ns == report.total.sum_ns());
}

}  // namespace

TEST_CASE("every sampled request is joined, in order, under each policy, with clocks apart") {
  for (const char* const flush : {"clocked", "loop", "call", "hold:5"}) {
    for (const size_t value_bytes : {8UL, 300UL}) {
      CAPTURE(flush, value_bytes);
      Scene scene(flush);
      const RealStationReport report = scene.run(60, 4, std::string(value_bytes, 'v'));
      REQUIRE(report.sampled == 2 * 60 * kDepth / 4);
      REQUIRE(report.total.count() == report.sampled);
      REQUIRE(report.out_of_order == 0);
      REQUIRE(report.lost() == 0);
      check_sums(report);
      REQUIRE(report.clocks.size() == 1);
      const ClockPair& pair = report.clocks[0];
      REQUIRE(pair.fits_all());
      REQUIRE(pair.windows.size() == 1);
      const int64_t offset_ns = pair.windows[0].offset_ns;
      const int64_t error_ns = static_cast<int64_t>(pair.windows[0].error_ns);
      REQUIRE(offset_ns - error_ns <= static_cast<int64_t>(kAheadNs));
      REQUIRE(offset_ns + error_ns >= static_cast<int64_t>(kAheadNs));
      REQUIRE(pair.windows[0].error_ns < 100'000);
    }
  }
}

TEST_CASE("what is not sampled leaves no record") {
  Scene scene("clocked");
  RanksScene& ranks = scene.ranks();
  const std::string key = ranks.key_of(1, "key");
  REQUIRE(ranks.put(0, key, "value").ok());
  REQUIRE(ranks.get(0, key).value == "value");
  REQUIRE(ranks.put(0, key, "again", {.version = 77}).ok());  // not looked at without if_version
  REQUIRE(ranks.add(0, ranks.key_of(1, "sum"), 5).ok());
  REQUIRE(scene.ring(0).written == 0);
  REQUIRE(scene.ring(1).written == 0);
  // A mark is for one request only, also in the next lap of the ring.
  REQUIRE(ranks.client(0).sample_next(key));
  for (uint32_t times = 0; times < 3 * kDepth; ++times) REQUIRE(ranks.get(0, key).ok());
  REQUIRE(scene.ring(0).written == 1);
  REQUIRE(scene.ring(1).written == 1);
}

TEST_CASE("large values, and gets that are asked again") {
  Scene scene("clocked");
  RanksScene& ranks = scene.ranks();
  const std::string key = ranks.key_of(1, "large");
  REQUIRE(ranks.client(0).sample_next(key));
  REQUIRE(ranks.put(0, key, std::string(100'000, 'x')).ok());
  REQUIRE(scene.ring(0).written == 1);
  REQUIRE(scene.ring(1).written == 1);
  // The first try is not the whole way: no record of it at the rank that asks.
  REQUIRE(ranks.client(0).sample_next(key));
  REQUIRE(ranks.get(0, key).value.size() == 100'000);
  REQUIRE(scene.ring(0).written == 1);
  REQUIRE(scene.ring(0).missed == 1);
}

TEST_CASE("a rank that dies takes the records of its requests, and nothing else") {
  Scene scene("clocked");
  RanksScene& ranks = scene.ranks();
  const std::string key = ranks.key_of(1, "key");
  REQUIRE(ranks.put(0, key, "value").ok());
  REQUIRE(ranks.client(0).sample_next(key));
  REQUIRE(ranks.client(0).submit_get(key, 1) == Status::ok);
  ranks.kill(1);
  REQUIRE(ranks.settle());
  REQUIRE(scene.ring(0).written == 0);
  REQUIRE(scene.ring(0).missed <= 1);
}

}  // namespace copykv::bench
