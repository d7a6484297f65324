// SPDX-License-Identifier: Apache-2.0
#include "bench/sim_client.hpp"

#include <algorithm>

#include "bench/verify.hpp"

namespace copykv::bench {

SimClient::SimClient(sim::Cluster& cluster, sim::StationRecorder& stations, uint32_t rank,
                     const Workload& workload, const WorkerSetup& setup)
    : Process(rank),
      cluster_(cluster),
      stations_(stations),
      setup_(setup),
      open_(setup.arrival != Arrival::closed),
      stream_(workload, setup.seed, setup.client, setup.clients),
      key_text_(workload.key_bytes),
      value_(workload.sizes.bytes_max()),
      in_flight_(setup.queue_depth) {
  for (uint32_t tag = setup.queue_depth; tag > 0; --tag) free_tags_.push_back(tag - 1);
}

SimClient::~SimClient() = default;

bool SimClient::attach(uint64_t bulk_bytes) {
  attachment_ = cluster_.attach(*this, setup_.queue_depth, bulk_bytes);
  if (attachment_ != nullptr) lane_ = attachment_->seat->geometry().client_number;
  return attachment_ != nullptr;
}

void SimClient::begin(const Window& window, Measurement& measured) {
  window_ = window;
  measured_ = &measured;
  measured.start_ns = std::min(measured.start_ns, window.start_ns);
  measured.over_time.begin(window.end_ns - window.start_ns);
  operations_ = 0;
  ready_ns_ = last_change_ns_ = window.start_ns;
  places_.assign(free_tags_.size(), window.start_ns);
  schedule_.reset();
  if (open_) {
    const double phase = static_cast<double>(setup_.client) / setup_.clients;
    schedule_ = std::make_unique<Schedule>(setup_.arrival, setup_.interval_ns, phase,
                                           window.start_ns, setup_.seed ^ 0x5c4ed01eULL);
  }
}

void SimClient::end() {
  for (; open_ && schedule_->next_ns() < window_.end_ns; schedule_->advance()) {
    ++measured_->unsent;
  }
  measured_->client_operations.push_back(operations_);
  measured_->end_ns = std::max(measured_->end_ns, last_change_ns_);
  follow_ups_.clear();
  measured_ = nullptr;
}

uint64_t SimClient::step(uint64_t now_ns) {
  if (measured_ == nullptr) return sim::kNever;
  if (now_ns < window_.start_ns) return window_.start_ns;
  take(now_ns);
  uint64_t next_ns = submit_due(now_ns);
  if (next_ns == sim::kNever && free_tags_.size() == setup_.queue_depth) end();
  if (!arriving_.empty()) next_ns = std::min(next_ns, arriving_.front().visible_ns);
  return next_ns;
}

void SimClient::integrate(uint64_t now_ns) {
  measured_->in_flight_time_ns +=
      (setup_.queue_depth - free_tags_.size()) * (now_ns - last_change_ns_);
  last_change_ns_ = now_ns;
}

/// Starts what is due. Returns when the next start is; kNever: not before an answer, or never.
uint64_t SimClient::submit_due(uint64_t now_ns) {
  const uint64_t end_ns = open_ ? window_.send_until_ns : window_.end_ns;
  while (!places_.empty()) {
    const bool follows = !follow_ups_.empty();
    if (open_ && !follows && schedule_->next_ns() >= window_.end_ns) return sim::kNever;
    const uint64_t due_ns =
        open_ && !follows ? std::max(schedule_->next_ns(), places_.front()) : places_.front();
    if (due_ns >= end_ns) return sim::kNever;
    const uint64_t line_ns = cluster_.costs().line_ns;
    if (due_ns + line_ns > now_ns) return due_ns + line_ns;
    if (follows) {
      const InFlight read = follow_ups_.front();
      follow_ups_.erase(follow_ups_.begin());
      submit({read.key_index, read.value_bytes, Kind::put, read.remote}, due_ns, read.meant_ns);
    } else {
      submit(stream_.next(), due_ns, open_ ? schedule_->next_ns() : due_ns);
      if (open_) schedule_->advance();
    }
  }
  return sim::kNever;
}

/// Published at `at_ns`, and visible now.
void SimClient::submit(const PlannedOp& op, uint64_t at_ns, uint64_t meant_ns) {
  const std::string_view key = key_text_(op.key_index);
  const uint32_t tag = free_tags_.back();
  Client& client = *attachment_->client;
  Status status = Status::ok;
  if (op.kind == Kind::put) {
    const std::span<char> value(value_.data(), op.value_bytes);
    fill_value(value, op.key_index, {static_cast<uint16_t>(setup_.client), ++sequence_});
    status = client.submit_put(key, {value.data(), value.size()}, tag);
  } else {
    status = client.submit_get(key, tag);
  }
  places_.pop_front();
  if (status != Status::ok) {  // refused at once: every further operation would be
    ++measured_->errors[static_cast<size_t>(status)];
    window_.end_ns = window_.send_until_ns = at_ns;
    return;
  }
  const uint64_t now_ns = cluster_.clock.now_ns();
  integrate(now_ns);
  measured_->in_flight_time_ns += now_ns - at_ns;
  const auto slot = static_cast<uint32_t>(submitted_++ % setup_.queue_depth);
  stations_.published(rank(), lane_, slot, at_ns);
  free_tags_.pop_back();
  locals_ += op.remote ? 0 : 1;
  in_flight_[tag] = {{at_ns, meant_ns, op.key_index, op.value_bytes, op.kind, op.remote}, slot};
}

uint64_t SimClient::look(TurnWrites& writes) {
  if (locals_ == 0 && !std::exchange(expects_, false)) return sim::kNever;
  const size_t count = attachment_->client->poll(completions_);
  uint64_t visible_ns = sim::kNever;
  for (size_t index = 0; index < count; ++index) {
    const Completion& done = completions_[index];
    const InFlight& op = in_flight_[done.tag];
    locals_ -= op.remote ? 0 : 1;
    const uint64_t written_ns = writes.next_ns(op.remote);
    visible_ns = written_ns + cluster_.costs().line_ns;
    if (!arriving_.empty()) visible_ns = std::max(visible_ns, arriving_.back().visible_ns);
    stations_.answered(rank(), lane_, op.slot, op.remote, writes.turn().at_ns, written_ns);
    const bool is_read = op.kind != Kind::put && done.result.status == Status::ok;
    if (is_read && setup_.verify) {
      verify_read(*measured_, setup_.client, key_text_, op.key_index, done.result.value);
    }
    arriving_.push_back({visible_ns, static_cast<uint32_t>(done.tag), done.result.status});
  }
  return visible_ns;
}

void SimClient::take(uint64_t now_ns) {
  uint64_t taken = 0;
  for (; !arriving_.empty() && arriving_.front().visible_ns <= now_ns; ++taken) {
    integrate(now_ns);
    finish(arriving_.front(), now_ns);
    arriving_.pop_front();
  }
  measured_->operations += taken;
  measured_->over_time.count(now_ns - measured_->start_ns, taken);
  operations_ += taken;
  measured_->rounds += taken > 0 ? 1 : 0;
}

void SimClient::finish(const Arriving& answer, uint64_t now_ns) {
  const InFlight& op = in_flight_[answer.tag];
  const Series series = series_of(op.kind == Kind::put, op.remote);
  measured_->service.of(series).record(now_ns - op.submitted_ns);
  if (open_) measured_->response.of(series).record(now_ns - op.meant_ns);
  if (answer.status != Status::ok) ++measured_->errors[static_cast<size_t>(answer.status)];
  stations_.seen(rank(), lane_, op.slot, op.remote);
  if (op.kind == Kind::modify) follow_ups_.push_back(op);
  free_tags_.push_back(answer.tag);
  ready_ns_ = std::max(ready_ns_, now_ns) + cluster_.costs().client_ns;
  places_.push_back(ready_ns_);
}

}  // namespace copykv::bench
