// SPDX-License-Identifier: Apache-2.0
#include "sim/stations.hpp"

#include <cstring>
#include <utility>

#include "copyrpc/wire.hpp"

namespace copykv::sim {
namespace {

/// Moments of a remote request; the station before each ends there.
enum Moment : size_t {
  kPublished,
  kSeen,
  kPosted,
  kStarted,
  kSent,
  kThere,
  kPeerSeen,
  kReplyPosted,
  kReplyStarted,
  kReplySent,
  kReplyThere,
  kAnswered,
  kWritten,
};
static_assert(kWritten + 1 == kRemoteStations.size());

template <size_t N>
bool add_up(const std::array<uint64_t, N + 1>& moments, std::array<Histogram, N>& parts,
            Histogram& total) {
  for (size_t part = 0; part < N; ++part) {
    if (moments[part + 1] < moments[part]) return false;
  }
  for (size_t part = 0; part < N; ++part) parts[part].record(moments[part + 1] - moments[part]);
  total.record(moments[N] - moments[0]);
  return true;
}

/// As the first bytes of a batch say.
uint32_t messages_of(std::span<const std::byte> batch) {
  uint16_t count = 0;
  std::memcpy(&count, batch.data() + offsetof(copyrpc::BatchHeader, message_count), sizeof(count));
  return count;
}

}  // namespace

StationRecorder::StationRecorder(uint32_t ranks, uint32_t lanes_max, uint32_t depth,
                                 uint32_t send_queues, const Clock& clock)
    : ranks_(ranks),
      lanes_max_(lanes_max),
      depth_(depth),
      send_queues_(send_queues),
      clock_(clock),
      stamps_(size_t{ranks} * lanes_max * depth),
      ways_(size_t{ranks} * ranks),
      taken_(ranks),
      moving_(ranks),
      answered_(ranks) {
  begin();
}

void StationRecorder::begin() {
  report_ = {};
  report_.daemons.resize(ranks_);
  for (DaemonWork& daemon : report_.daemons) daemon.queues.resize(send_queues_);
}

void StationRecorder::published(uint32_t rank, uint32_t lane, uint32_t slot, uint64_t at_ns) {
  Stamps& stamps = stamps_of(rank, lane, slot);
  stamps.fill(0);
  stamps[kPublished] = at_ns;
}

void StationRecorder::on_call(uint32_t rank, uint32_t to, const Ticket& ticket) {
  Stamps& stamps = stamps_of(rank, ticket.lane, ticket.slot);
  stamps[kSeen] = clock_.now_ns();
  way(rank, to).staged.push_back({&stamps, false});
}

/// What leaves in one batch is what was staged first.
void StationRecorder::on_departure(const copyrpc::SimNetwork::Departure& d) {
  DaemonWork& daemon = report_.daemons[d.from];
  daemon.queues[d.queue].add(d.sent_ns - d.started_ns);
  Way& to = way(d.from, d.to);
  if (!d.tells) {  // a batch that comes round the end of its ring begins with a plain write
    if (d.bytes.size() >= copyrpc::kGrainBytes) to.begun_messages = messages_of(d.bytes);
    return;
  }
  if (copyrpc::Immediate::unpack(d.immediate).told != copyrpc::Told::batch) return;
  uint32_t messages = std::exchange(to.begun_messages, 0);
  if (messages == 0) messages = messages_of(d.bytes);
  ++daemon.batches;
  daemon.messages += messages;
  const uint64_t before_ns = std::exchange(to.last_batch_ns, d.posted_ns);
  report_.batches_by_messages[messages].add(before_ns > 0 ? d.posted_ns - before_ns : 0);
  for (uint32_t number = 0; number < messages && !to.staged.empty(); ++number) {
    const auto [stamps, is_answer] = to.staged.front();
    to.staged.pop_front();
    uint64_t* const moments = stamps->data() + (is_answer ? kReplyPosted : kPosted);
    moments[0] = d.posted_ns;
    moments[1] = d.started_ns;
    moments[2] = d.sent_ns;
    moments[3] = d.there_ns;
    if (!is_answer) to.arriving.push_back(stamps);
  }
}

void StationRecorder::on_inbound(uint32_t rank, uint32_t index, uint32_t from) {
  Way& by = way(from, rank);
  Taken& taken = taken_[rank][index];
  taken = {nullptr, from};
  if (by.arriving.empty()) return;
  taken.stamps = by.arriving.front();
  by.arriving.pop_front();
  (*taken.stamps)[kPeerSeen] = clock_.now_ns();
}

void StationRecorder::on_put_back(uint32_t rank, uint32_t index) {
  const Taken& taken = taken_[rank][index];
  if (taken.stamps != nullptr) way(taken.from, rank).arriving.push_front(taken.stamps);
}

void StationRecorder::reply(uint32_t rank, const Taken& taken) {
  if (taken.stamps != nullptr) way(rank, taken.from).staged.push_back({taken.stamps, true});
}

void StationRecorder::on_reply(uint32_t rank, uint32_t index) {
  reply(rank, taken_[rank][index]);
}

void StationRecorder::on_move(uint32_t rank, uint32_t index, uint32_t move) {
  moving_[rank][move] = taken_[rank][index];
}

void StationRecorder::on_reply_moved(uint32_t rank, uint32_t move) {
  reply(rank, moving_[rank][move]);
}

void StationRecorder::on_answer(uint32_t rank, const Ticket& ticket) {
  Stamps& stamps = stamps_of(rank, ticket.lane, ticket.slot);
  stamps[kAnswered] = clock_.now_ns();
  report_.daemons[rank].rtt.record(stamps[kAnswered] - stamps[kSeen]);
  answered_[rank].push_back(ticket.lane);
}

void StationRecorder::answered(uint32_t rank, uint32_t lane, uint32_t slot, bool remote,
                               uint64_t turn_ns, uint64_t written_ns) {
  Stamps& stamps = stamps_of(rank, lane, slot);
  if (!remote) stamps[kSeen] = turn_ns;
  stamps[kWritten] = written_ns;
}

void StationRecorder::seen(uint32_t rank, uint32_t lane, uint32_t slot, bool remote) {
  Stamps& stamps = stamps_of(rank, lane, slot);
  stamps.back() = clock_.now_ns();
  const std::array<uint64_t, kLocalStations.size() + 1> local = {stamps[kPublished], stamps[kSeen],
                                                                 stamps[kWritten], stamps.back()};
  const bool adds_up = remote ? add_up(stamps, report_.remote, report_.remote_total)
                              : add_up(local, report_.local, report_.local_total);
  report_.unmatched += adds_up ? 0 : 1;
}

void StationRecorder::on_turn(const Turn& turn) {
  DaemonWork& daemon = report_.daemons[turn.rank];
  daemon.turns += 1 + turn.idle_before;
  daemon.lanes_sum += turn.lanes * (1 + turn.idle_before);
  daemon.locals += turn.locals;
  daemon.calls += turn.calls;
  daemon.answers += turn.answers;
  daemon.inbound += turn.inbound;
  daemon.posts += turn.posts;
  for (uint32_t phase = 0; phase < kPhaseCount; ++phase) {
    daemon.phases[phase].record(turn.phase_ns[phase]);
    // A turn that is not taken costs what this one would without its work.
    daemon.phases[phase].record_n(idle_phase_ns_[phase], turn.idle_before);
  }
  if (turn.is_busy()) {
    ++daemon.busy_turns;
    daemon.busy_ns += turn.over_ns - turn.at_ns;
    report_.turns_by_items[turn.done].add(turn.over_ns - turn.at_ns);
  } else {
    idle_phase_ns_ = turn.phase_ns;
  }
  if (after_turn) after_turn(turn);
}

}  // namespace copykv::sim
