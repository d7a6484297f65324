// SPDX-License-Identifier: Apache-2.0
#include "daemon/station_network.hpp"

#include <utility>

#include "base/assert.hpp"
#include "daemon/job_card.hpp"

namespace copykv {
namespace {

using Record = StationRecord;

[[nodiscard]] Record record_of(Record::Kind kind, uint64_t mark, copyrpc::PeerId other) noexcept {
  Record record{};
  record.mark = mark;
  record.kind = kind;
  record.rank = static_cast<uint16_t>(other / kRailsMax);
  record.daemon = static_cast<uint16_t>(other % kRailsMax);
  return record;
}

[[nodiscard]] bool can_be_marked(const Pending& request) noexcept {
  return request.path != Path::general ||
         copykv::can_be_marked(static_cast<Op>(request.op),
                               static_cast<Condition>(request.condition));
}

[[nodiscard]] bool is_same(const Ticket& a, const Ticket& b) noexcept {
  return a.lane == b.lane && a.slot == b.slot && a.seq == b.seq;
}

}  // namespace

StationNetwork::StationNetwork(RpcNetwork& network, StationRing& ring, bool posts_at_once,
                               const Clock& clock)
    : network_(network),
      ring_(ring),
      posts_at_once_(posts_at_once),
      clock_(clock),
      next_mark_(clock.now_ns() + 1) {
  for (uint32_t call = 0; call < kCallsMax; ++call) free_[call] = static_cast<uint16_t>(call);
}

// ---- what leaves

StationNetwork::Staged StationNetwork::staged_now(copyrpc::PeerId id) const noexcept {
  const copyrpc::Peer& peer = network_.node().peer(id);
  return {id, peer.session, peer.open_batch};
}

bool StationNetwork::is_posted(const Staged& at) const noexcept {
  const copyrpc::Peer& peer = network_.node().peer(at.peer);
  return peer.session == at.session && copyrpc::is_before(at.batch, peer.batches_posted);
}

/// Does a step in which messages may be posted: those that were, were so after it began.
template <class Step>
auto StationNetwork::watch(bool may_post, Step&& step) noexcept {
  struct Watch {
    ~Watch() {
      if (began_ns > 0) network.note_posted(began_ns);
    }
    StationNetwork& network;
    const uint64_t began_ns;
  } const watched{*this, may_post && unposted_count_ > 0 ? clock_.now_ns() : 0};
  return step();
}

void StationNetwork::note_posted(uint64_t at_ns) noexcept {
  uint32_t kept = 0;
  for (uint32_t index = 0; index < unposted_count_; ++index) {
    Unposted& message = unposted_[index];
    const bool posted = is_posted(message.at);
    if (!posted && network_.node().peer(message.at.peer).session == message.at.session) {
      if (kept != index) unposted_[kept] = message;
      ++kept;
    } else if (!posted) {  // lost with its session; a call's end will find that it has no post
      if (message.call == kCallsMax) miss();
    } else if (message.call < kCallsMax) {
      calls_[message.call].record.at_ns[Record::kPosted] = at_ns;
    } else {
      message.answer.at_ns[Record::kPeerPosted] = at_ns;
      ring_.write(message.answer);
    }
  }
  unposted_count_ = kept;
}

void StationNetwork::flush() noexcept {
  watch(true, [&] { network_.flush(); });
}

// ---- own calls

Network::Sent StationNetwork::call(const Pending& request) noexcept {
  if (!can_be_marked(request)) return watch(posts_at_once_, [&] { return network_.call(request); });
  if (is_sampled(request)) return call_sampled(request);
  if (request.argument == 0) return watch(posts_at_once_, [&] { return network_.call(request); });
  Pending clean = request;  // what a client left there is no mark
  clean.argument = 0;
  return watch(posts_at_once_, [&] { return network_.call(clean); });
}

uint32_t StationNetwork::call_plain(std::span<const Pending> requests, Sent& sent) noexcept {
  uint32_t done = 0;
  while (done < requests.size() && is_remote(requests[done].path)) {
    uint32_t end = done;
    while (end < requests.size() && is_remote(requests[end].path) && !is_sampled(requests[end])) {
      ++end;
    }
    if (end > done) {
      const auto run = requests.subspan(done, end - done);
      const uint32_t accepted =
          watch(posts_at_once_, [&] { return network_.call_plain(run, sent); });
      done += accepted;
      if (accepted < run.size()) return done;
      continue;
    }
    const Sent one = call_sampled(requests[done]);
    if (one != Sent::accepted) {
      sent = one;
      return done;
    }
    ++done;
  }
  return done;
}

Network::Sent StationNetwork::call_sampled(const Pending& request) noexcept {
  const copyrpc::PeerId owner = network_.node_of(request.owner);
  uint16_t& place = index_of(request.ticket());
  const bool stamped = owner != copyrpc::kNoPeer && free_count_ > 0 && place == 0 &&
                       unposted_count_ < unposted_.size();
  Pending marked = request;
  if (marked.path != Path::general) marked.widen();  // the same on the wire, but for the mark
  marked.argument = stamped ? next_mark_ : 0;
  if (!stamped) {
    const Sent sent = watch(posts_at_once_, [&] { return network_.call(marked); });
    if (sent == Sent::accepted) miss();
    return sent;
  }
  const Staged at = staged_now(owner);
  const uint64_t seen_ns = clock_.now_ns();
  const Sent sent = network_.call(marked);
  if (posts_at_once_ && unposted_count_ > 0) note_posted(seen_ns);
  if (sent != Sent::accepted) return sent;
  const uint32_t number = free_[--free_count_];
  place = static_cast<uint16_t>(number + 1);
  Call& call = calls_[number];
  call.ticket = request.ticket();
  call.record = record_of(Record::Kind::call, next_mark_++, owner);
  call.record.client = request.ticket().lane;
  call.record.slot = request.ticket().slot;
  call.record.seq = request.ticket().seq;
  call.record.at_ns[Record::kSeen] = seen_ns;
  if (is_posted(at)) {
    call.record.at_ns[Record::kStaged] = call.record.at_ns[Record::kPosted] = seen_ns;
  } else {
    call.record.at_ns[Record::kStaged] = clock_.now_ns();
    unposted_[unposted_count_++] = {at, number, {}};
  }
  return sent;
}

uint32_t StationNetwork::take_answers(std::span<RemoteAnswer> answers) noexcept {
  if (network_.looks_next_turn()) {
    const uint64_t now_ns = clock_.now_ns();
    if (!answers_left_) answers_looked_ns_ = look_ns_;
    if (!calls_left_) calls_looked_ns_ = look_ns_;
    look_ns_ = now_ns;
  }
  const uint32_t count = network_.take_answers(answers);
  answers_left_ = count == answers.size();
  if (free_count_ == kCallsMax) return count;
  for (const RemoteAnswer& answer : answers.first(count)) {
    const uint32_t place = index_of(answer.ticket);
    if (place > 0 && is_same(calls_[place - 1].ticket, answer.ticket)) finish(place - 1, answer);
  }
  return count;
}

void StationNetwork::finish(uint32_t number, const RemoteAnswer& answer) noexcept {
  Call& call = calls_[number];
  index_of(call.ticket) = 0;
  const bool whole =
      call.record.at_ns[Record::kPosted] > 0 && answer.status < Status::buffer_too_small;
  if (!whole) {
    for (uint32_t index = 0; index < unposted_count_; ++index) {
      if (unposted_[index].call == number) unposted_[index] = unposted_[--unposted_count_];
    }
    free_[free_count_++] = static_cast<uint16_t>(number);
    return miss();
  }
  call.record.at_ns[Record::kLooked] = answers_looked_ns_;
  call.record.at_ns[Record::kCompleted] = clock_.now_ns();
  answered_[answered_count_++] = static_cast<uint16_t>(number);
}

/// The first call of the engine after it was given answers: it has written them.
void StationNetwork::note_written() noexcept {
  if (answered_count_ == 0) [[likely]]
    return;
  const uint64_t now_ns = clock_.now_ns();
  for (uint32_t index = 0; index < answered_count_; ++index) {
    const uint16_t number = answered_[index];
    calls_[number].record.at_ns[Record::kWritten] = now_ns;
    ring_.write(calls_[number].record);
    free_[free_count_++] = number;
  }
  answered_count_ = 0;
}

// ---- calls of others

uint32_t StationNetwork::take_requests(std::span<RemoteRequest> requests) noexcept {
  note_written();
  taken_ = network_.take_requests(requests);
  calls_left_ = taken_ == requests.size();
  sampled_ = 0;
  uint64_t seen_ns = 0;
  for (uint32_t index = 0; index < taken_; ++index) {
    const uint64_t mark = network_.mark_of(requests[index]);
    if (mark == 0) [[likely]]
      continue;
    if (seen_ns == 0) seen_ns = clock_.now_ns();
    sampled_ |= uint64_t{1} << index;
    asked_[index] = {network_.caller_of(requests[index]), mark, calls_looked_ns_, seen_ns};
  }
  return taken_;
}

void StationNetwork::put_back(uint32_t index) noexcept {
  sampled_ &= (uint64_t{1} << index) - 1;
  network_.put_back(index);
}

template <class Reply>
void StationNetwork::stamp_reply(const Asked& asked, Reply&& reply) noexcept {
  const Staged at = staged_now(asked.caller);
  const uint64_t began_ns = clock_.now_ns();
  reply();
  if (posts_at_once_ && unposted_count_ > 0) note_posted(began_ns);
  Record record = record_of(Record::Kind::answer, asked.mark, asked.caller);
  record.at_ns[Record::kPeerLooked] = asked.looked_ns;
  record.at_ns[Record::kPeerSeen] = asked.seen_ns;
  if (is_posted(at)) {
    record.at_ns[Record::kPeerAnswered] = record.at_ns[Record::kPeerPosted] = began_ns;
    ring_.write(record);
  } else if (unposted_count_ < unposted_.size()) {
    record.at_ns[Record::kPeerAnswered] = clock_.now_ns();
    unposted_[unposted_count_++] = {at, kCallsMax, record};
  } else {
    miss();
  }
}

void StationNetwork::reply_plain(std::span<const RemoteRequest> requests) noexcept {
  if (sampled_ == 0) [[likely]] {
    return watch(posts_at_once_, [&] { network_.reply_plain(requests); });
  }
  size_t done = 0;
  while (done < requests.size()) {
    size_t end = done;
    while (end < requests.size() && !is_sampled(requests[end])) ++end;
    if (end > done) {
      watch(posts_at_once_, [&] { network_.reply_plain(requests.subspan(done, end - done)); });
      done = end;
    } else {
      stamp_reply(asked_[requests[done].index],
                  [&] { network_.reply_plain(requests.subspan(done, 1)); });
      ++done;
    }
  }
}

void StationNetwork::reply(const RemoteRequest& request, const StoreAnswer& answer,
                           uint32_t value_bytes) noexcept {
  const auto pass = [&] { network_.reply(request, answer, value_bytes); };
  if (is_sampled(request)) return stamp_reply(asked_[request.index], pass);
  watch(posts_at_once_, pass);
}

bool StationNetwork::move(const RemoteRequest& request, uint32_t move, std::byte* memory,
                          uint32_t bytes) noexcept {
  moving_[move] = is_sampled(request) ? asked_[request.index] : Asked{};
  return network_.move(request, move, memory, bytes);
}

uint32_t StationNetwork::take_moved(std::span<MoveEnd> ends) noexcept {
  note_written();
  return network_.take_moved(ends);
}

void StationNetwork::reply_moved(uint32_t move, const StoreAnswer& answer) noexcept {
  const auto pass = [&] { network_.reply_moved(move, answer); };
  if (moving_[move].mark != 0) return stamp_reply(moving_[move], pass);
  watch(posts_at_once_, pass);
}

}  // namespace copykv
