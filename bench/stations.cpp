// SPDX-License-Identifier: Apache-2.0
#include "bench/stations.hpp"

#include <map>
#include <tuple>
#include <utility>

namespace copykv::bench {
namespace {

using Record = StationRecord;

using RequestName = std::tuple<uint32_t, uint32_t, uint32_t, uint32_t>;
using MarkName = std::pair<Place, uint64_t>;

[[nodiscard]] uint64_t pack(Place place) noexcept {
  return uint64_t{place.rank} << 32 | place.daemon;
}
[[nodiscard]] Place unpack(uint64_t word) noexcept {
  return {static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word)};
}

template <class Sample>
void keep_newest(std::vector<Sample>& samples) {
  if (samples.size() <= kSamplesToldMax) return;
  samples.erase(samples.begin(),
                samples.begin() + static_cast<ptrdiff_t>(samples.size() - kSamplesToldMax));
}

/// A call and its answer.
struct Joined {
  const CallSample* call;
  const AnswerSample* answer;
};

[[nodiscard]] std::vector<Joined> join(const StationSamples& samples) {
  std::map<MarkName, const AnswerSample*> answers;
  for (const AnswerSample& answer : samples.answers) {
    answers.emplace(MarkName{answer.caller, answer.mark}, &answer);
  }
  std::vector<Joined> joined;
  for (const CallSample& call : samples.calls) {
    const auto answer = answers.find({call.caller, call.mark});
    if (answer == answers.end() || answer->second->owner != call.owner) continue;
    joined.push_back({&call, answer->second});
  }
  return joined;
}

/// The clocks of every two ranks that have talked, the lower rank first.
[[nodiscard]] std::vector<ClockPair> align_ranks(const std::vector<Joined>& joined) {
  std::map<std::pair<uint32_t, uint32_t>, std::vector<OffsetBound>> bounds;
  for (const auto& [call, answer] : joined) {
    const uint32_t asks = call->caller.rank;
    const uint32_t owns = call->owner.rank;
    const auto make = asks < owns ? OffsetBound::of_request : OffsetBound::of_inverse;
    bounds[std::minmax(asks, owns)].push_back(
        make(call->at_ns[Record::kPosted], answer->at_ns[Record::kPeerSeen],
             answer->at_ns[Record::kPeerPosted], call->at_ns[Record::kCompleted]));
  }
  std::vector<ClockPair> pairs;
  for (auto& [ranks, of_pair] : bounds) {
    const uint64_t requests = of_pair.size();
    pairs.push_back({ranks.first, ranks.second, requests, align_clocks(std::move(of_pair))});
  }
  return pairs;
}

using Moments = std::array<int64_t, kRealStations.size() + 1>;

/// By the clock of who asks, which the other is `ahead_ns` before.
[[nodiscard]] Moments moments_of(const Joined& request, int64_t ahead_ns) noexcept {
  const auto own = [&](size_t moment) { return static_cast<int64_t>(request.call->at_ns[moment]); };
  const auto peer = [&](size_t moment) {
    return static_cast<int64_t>(request.answer->at_ns[moment]) - ahead_ns;
  };
  const auto published = static_cast<int64_t>(request.call->published_ns);
  const auto client_seen = static_cast<int64_t>(request.call->client_seen_ns);
  return {published, own(Record::kSeen), own(Record::kStaged), own(Record::kPosted),
          std::max(own(Record::kPosted), peer(Record::kPeerLooked)), peer(Record::kPeerSeen),
          peer(Record::kPeerAnswered), peer(Record::kPeerPosted),
          std::max(peer(Record::kPeerPosted), own(Record::kLooked)), own(Record::kCompleted),
          // The client may see the line before the daemon comes to say that it has written it.
          std::min(own(Record::kWritten), client_seen), client_seen};
}

}  // namespace

StationSamples& StationSamples::operator+=(const StationSamples& other) {
  sampled += other.sampled;
  calls.insert(calls.end(), other.calls.begin(), other.calls.end());
  answers.insert(answers.end(), other.answers.begin(), other.answers.end());
  return *this;
}

StationSamples join_clients(uint32_t rank, std::span<const std::vector<StationRecord>> records,
                            uint64_t sampled, std::span<const ClientSample> clients) {
  StationSamples samples;
  samples.sampled = sampled;
  std::map<RequestName, const ClientSample*> by_name;
  for (const ClientSample& sample : clients) {
    by_name.emplace(RequestName{sample.daemon, sample.client, sample.slot, sample.seq}, &sample);
  }
  for (uint32_t daemon = 0; daemon < records.size(); ++daemon) {
    for (const StationRecord& record : records[daemon]) {
      const Place own{rank, daemon};
      const Place other{record.rank, record.daemon};
      if (record.kind == Record::Kind::answer) {
        samples.answers.push_back({other, own, record.mark, record.at_ns});
        continue;
      }
      const auto found = by_name.find({daemon, record.client, record.slot, record.seq});
      if (found == by_name.end()) continue;
      samples.calls.push_back({own, other, record.mark, found->second->published_ns, record.at_ns,
                               found->second->seen_ns});
    }
  }
  keep_newest(samples.calls);
  keep_newest(samples.answers);
  return samples;
}

void encode(Encoder& out, const StationSamples& samples) {
  out.number(samples.sampled).number(samples.calls.size());
  for (const CallSample& call : samples.calls) {
    out.number(pack(call.caller)).number(pack(call.owner)).number(call.mark);
    out.number(call.published_ns).number(call.client_seen_ns);
    for (const uint64_t at_ns : call.at_ns) out.number(at_ns);
  }
  out.number(samples.answers.size());
  for (const AnswerSample& answer : samples.answers) {
    out.number(pack(answer.caller)).number(pack(answer.owner)).number(answer.mark);
    for (const uint64_t at_ns : answer.at_ns) out.number(at_ns);
  }
}

StationSamples decode_stations(Decoder& in) {
  StationSamples samples;
  samples.sampled = in.number();
  const uint64_t calls = in.number();
  for (uint64_t i = 0; i < calls && !in.cut(); ++i) {
    CallSample& call = samples.calls.emplace_back();
    call.caller = unpack(in.number());
    call.owner = unpack(in.number());
    call.mark = in.number();
    call.published_ns = in.number();
    call.client_seen_ns = in.number();
    for (uint64_t& at_ns : call.at_ns) at_ns = in.number();
  }
  const uint64_t answers = in.number();
  for (uint64_t i = 0; i < answers && !in.cut(); ++i) {
    AnswerSample& answer = samples.answers.emplace_back();
    answer.caller = unpack(in.number());
    answer.owner = unpack(in.number());
    answer.mark = in.number();
    for (uint64_t& at_ns : answer.at_ns) at_ns = in.number();
  }
  return samples;
}

uint64_t ClockPair::error_ns_max() const noexcept {
  uint64_t most = 0;
  for (const OffsetWindow& window : windows) most = std::max(most, window.error_ns);
  return most;
}

bool ClockPair::fits_all() const noexcept {
  return std::all_of(windows.begin(), windows.end(),
                     [](const OffsetWindow& window) { return window.fits_all; });
}

RealStationReport add_up(const StationSamples& samples) {
  RealStationReport report;
  report.sampled = samples.sampled;
  const std::vector<Joined> joined = join(samples);
  report.clocks = align_ranks(joined);
  std::map<std::pair<uint32_t, uint32_t>, const ClockPair*> clocks;
  for (const ClockPair& pair : report.clocks) clocks[{pair.rank, pair.other}] = &pair;
  for (const Joined& request : joined) {
    const uint32_t asks = request.call->caller.rank;
    const uint32_t owns = request.call->owner.rank;
    const bool inverse = asks > owns;
    const auto& windows = clocks.at(std::minmax(asks, owns))->windows;
    const uint64_t at_ns =
        inverse ? request.answer->at_ns[Record::kPeerSeen] : request.call->at_ns[Record::kPosted];
    const int64_t offset_ns = window_at(windows, at_ns).offset_ns;
    const Moments moments = moments_of(request, inverse ? -offset_ns : offset_ns);
    if (!std::is_sorted(moments.begin(), moments.end())) {
      ++report.out_of_order;
      continue;
    }
    for (size_t part = 0; part < report.parts.size(); ++part) {
      report.parts[part].record(static_cast<uint64_t>(moments[part + 1] - moments[part]));
    }
    report.total.record(static_cast<uint64_t>(moments.back() - moments.front()));
  }
  return report;
}

}  // namespace copykv::bench
