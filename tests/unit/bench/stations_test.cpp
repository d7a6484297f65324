// SPDX-License-Identifier: Apache-2.0
// Clocks that are found from requests alone, and records that are joined or counted as lost.
#include "bench/stations.hpp"

#include <cstdlib>

#include <catch2/catch.hpp>

#include "base/random.hpp"

namespace copykv::bench {
namespace {

/// Clocks with a planted difference, and requests between them of random times.
struct TwoClocks {
  int64_t ahead_ns = 0;
  double drift = 0;  ///< by how much the other one runs faster
  Random random{7};

  [[nodiscard]] int64_t ahead_at(uint64_t at_ns) const {
    return ahead_ns + static_cast<int64_t>(drift * static_cast<double>(at_ns));
  }
  [[nodiscard]] uint64_t other(uint64_t at_ns) const {
    return at_ns + static_cast<uint64_t>(ahead_at(at_ns));
  }
  [[nodiscard]] uint64_t some(uint64_t least_ns) { return least_ns + random.below(8'000); }
  [[nodiscard]] OffsetBound bound_at(uint64_t at_ns, bool inverse) {
    const uint64_t there_ns = at_ns + some(2'000);
    const uint64_t answered_ns = there_ns + some(500);
    const uint64_t back_ns = answered_ns + some(2'000);
    if (inverse) {
      return OffsetBound::of_inverse(other(at_ns), there_ns, answered_ns, other(back_ns));
    }
    return OffsetBound::of_request(at_ns, other(there_ns), other(answered_ns), back_ns);
  }
  [[nodiscard]] std::vector<OffsetBound> bounds(size_t count, uint64_t over_ns) {
    std::vector<OffsetBound> made;
    for (size_t i = 0; i < count; ++i) made.push_back(bound_at(i * over_ns / count, i % 2 == 1));
    return made;
  }
};

constexpr uint64_t kSecondNs = 1'000'000'000;

uint64_t distance(int64_t a, int64_t b) {
  return static_cast<uint64_t>(std::abs(a - b));
}

}  // namespace

TEST_CASE("a planted difference of two clocks is found within its error, whatever its sign") {
  for (const int64_t ahead_ns :
       {0L, 1'000'000L, -1'000'000L, 123'456'789'012L, -999'999'999'999L}) {
    TwoClocks clocks{ahead_ns};
    const auto windows = align_clocks(clocks.bounds(1'000, kSecondNs));
    REQUIRE(windows.size() == 1);
    REQUIRE(windows[0].fits_all);
    REQUIRE(distance(windows[0].offset_ns, ahead_ns) <= windows[0].error_ns);
    REQUIRE(windows[0].error_ns < 2'500);
    REQUIRE(windows[0].error_ns > 1'000);
  }
}

TEST_CASE("clocks that drift are followed in windows, each within its error") {
  for (const double drift : {50e-6, -50e-6}) {
    TwoClocks clocks{1'000'000, drift};
    const auto windows = align_clocks(clocks.bounds(20'000, 10 * kSecondNs));
    REQUIRE(windows.size() > 10);
    REQUIRE(windows.size() < 2'000);
    for (uint64_t at_ns = 0; at_ns < 10 * kSecondNs; at_ns += 10'000'000) {
      const OffsetWindow& window = window_at(windows, at_ns);
      REQUIRE(window.fits_all);
      // The difference moves by some microseconds inside of a window.
      REQUIRE(distance(window.offset_ns, clocks.ahead_at(at_ns)) <= window.error_ns + 5'000);
    }
  }
}

TEST_CASE("requests that contradict each other are told, with an error that covers them") {
  const std::vector<OffsetBound> bounds = {{10, 0, 100}, {20, 300, 400}};
  const auto windows = align_clocks(bounds);
  REQUIRE(windows.size() == 1);
  REQUIRE_FALSE(windows[0].fits_all);
  REQUIRE(windows[0].offset_ns == 200);
  REQUIRE(windows[0].error_ns == 100);
  REQUIRE(align_clocks({}).empty());
}

namespace {

StationRecord call_record(uint64_t mark, uint32_t seq, uint64_t at_ns) {
  StationRecord record{};
  record.mark = mark;
  record.kind = StationRecord::Kind::call;
  record.rank = 1;
  record.client = 3;
  record.slot = 2;
  record.seq = seq;
  record.at_ns = {at_ns + 100,   at_ns + 120,   at_ns + 200,
                  at_ns + 5'500, at_ns + 6'000, at_ns + 6'100};
  return record;
}

StationRecord answer_record(uint64_t mark, uint64_t at_ns) {
  StationRecord record{};
  record.mark = mark;
  record.kind = StationRecord::Kind::answer;
  record.at_ns = {at_ns + 2'000, at_ns + 2'400, at_ns + 2'600, at_ns + 3'000};
  return record;
}

ClientSample client_sample(uint32_t seq, uint64_t at_ns) {
  return {3, 0, 2, seq, at_ns, at_ns + 6'500};
}

/// Ranks 0 and 1, the clock of rank 1 `ahead_ns` before the other.
StationSamples both(const std::vector<StationRecord>& calls, std::vector<StationRecord> answers,
                    const std::vector<ClientSample>& clients, uint64_t ahead_ns) {
  for (StationRecord& answer : answers) {
    for (uint64_t& at_ns : answer.at_ns) at_ns += ahead_ns;
  }
  StationSamples samples = join_clients(0, {&calls, 1}, clients.size(), clients);
  samples += join_clients(1, {&answers, 1}, 0, {});
  return samples;
}

}  // namespace

TEST_CASE("parts of a request add up, whatever the clock of the other rank says") {
  for (const uint64_t ahead_ns : {0UL, 1'000'000UL, 77'000'000'000UL}) {
    const StationSamples samples = both({call_record(9, 5, 10'000)}, {answer_record(9, 10'000)},
                                        {client_sample(5, 10'000)}, ahead_ns);
    const RealStationReport report = add_up(samples);
    REQUIRE(report.total.count() == 1);
    REQUIRE(report.total.sum_ns() == 6'500);
    uint64_t sum_ns = 0;
    for (const Histogram& part : report.parts) sum_ns += part.sum_ns();
    REQUIRE(sum_ns == 6'500);
    REQUIRE(report.lost() == 0);
    REQUIRE(report.out_of_order == 0);
    REQUIRE(report.clocks.size() == 1);
    const OffsetWindow& window = report.clocks[0].windows.at(0);
    REQUIRE(distance(window.offset_ns, static_cast<int64_t>(ahead_ns)) <= window.error_ns);
    // What is known without any clock but one's own.
    REQUIRE(report.parts[0].sum_ns() == 100);
    REQUIRE(report.parts[1].sum_ns() == 20);
    REQUIRE(report.parts[2].sum_ns() == 80);
    REQUIRE(report.parts[4].sum_ns() == 400);
    REQUIRE(report.parts[5].sum_ns() == 200);
    REQUIRE(report.parts[6].sum_ns() == 400);
    REQUIRE(report.parts[9].sum_ns() == 100);
    REQUIRE(report.parts[10].sum_ns() == 400);
  }
}

TEST_CASE("a line that the client saw before the daemon said so was written by then") {
  StationRecord call = call_record(9, 5, 10'000);
  call.at_ns[StationRecord::kWritten] = 99'000;
  const RealStationReport report =
      add_up(both({call}, {answer_record(9, 10'000)}, {client_sample(5, 10'000)}, 0));
  REQUIRE(report.total.count() == 1);
  REQUIRE(report.parts[9].sum_ns() == 500);
  REQUIRE(report.parts[10].sum_ns() == 0);
}

TEST_CASE("what has no partner is lost, and nothing is made of it") {
  const std::vector<StationRecord> calls = {call_record(1, 1, 10'000), call_record(2, 2, 20'000),
                                            call_record(3, 3, 30'000)};
  const std::vector<StationRecord> answers = {answer_record(1, 10'000), answer_record(4, 20'000)};
  // The third has no record of its client, the second none of its owner, a fourth none at all.
  const std::vector<ClientSample> clients = {client_sample(1, 10'000), client_sample(2, 20'000),
                                             client_sample(7, 30'000), client_sample(8, 40'000)};
  const RealStationReport report = add_up(both(calls, answers, clients, 0));
  REQUIRE(report.sampled == 4);
  REQUIRE(report.total.count() == 1);
  REQUIRE(report.lost() == 3);
}

TEST_CASE("what is out of order is counted, and not used") {
  StationRecord late = call_record(2, 2, 20'000);
  std::swap(late.at_ns[StationRecord::kSeen], late.at_ns[StationRecord::kPosted]);
  const RealStationReport report = add_up(
      both({call_record(1, 1, 10'000), late}, {answer_record(1, 10'000), answer_record(2, 20'000)},
           {client_sample(1, 10'000), client_sample(2, 20'000)}, 0));
  REQUIRE(report.total.count() == 1);
  REQUIRE(report.out_of_order == 1);
  REQUIRE(report.lost() == 0);
}

TEST_CASE("samples arrive at another process as they were, or not at all") {
  const StationSamples samples = both({call_record(9, 5, 10'000)}, {answer_record(9, 10'000)},
                                      {client_sample(5, 10'000)}, 1'000'000);
  Encoder out;
  encode(out, samples);
  const std::string bytes = out.take();
  Decoder in(bytes);
  const StationSamples same = decode_stations(in);
  REQUIRE_FALSE(in.cut());
  REQUIRE(same.sampled == 1);
  REQUIRE(same.calls.size() == 1);
  REQUIRE(same.calls[0].at_ns == samples.calls[0].at_ns);
  REQUIRE(same.calls[0].owner == Place{1, 0});
  REQUIRE(same.answers[0].at_ns == samples.answers[0].at_ns);
  REQUIRE(add_up(same).total.count() == 1);
  for (size_t size = 0; size < bytes.size(); ++size) {
    Decoder cut(std::string_view(bytes).substr(0, size));
    (void)decode_stations(cut);
    REQUIRE(cut.cut());
  }
}

}  // namespace copykv::bench
