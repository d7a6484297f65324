// SPDX-License-Identifier: Apache-2.0
// The measured loop of one client.
//
// STAMPS  One before each round of submits, one after each round of answers: every operation of a
//   round carries the round's stamp. At depth 1 that is exact (the reading of the clock is inside,
//   as it is in line_rtt_ns). At depth Q a latency is too long by at most the time it takes to
//   submit one round, and never too short by more than the answer waited to be looked for.
// CLOSED  A run keeps queue_depth operations in flight. OPEN  It follows a Schedule: service time
//   counts from the submit, response time from the meant start, also when every slot was taken.
// ENDS    A run begins and ends with nothing in flight: whatever was started is measured.
// MEMORY  All of it is allocated by the constructor; the loop neither allocates nor calls the
//   system by itself (waiting does).
// THREADS One worker per client; only `live` and `stop` are shared.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/assert.hpp"
#include "base/atomics.hpp"
#include "base/clock.hpp"
#include "bench/arrival.hpp"
#include "bench/backend.hpp"
#include "bench/keys.hpp"
#include "bench/live.hpp"
#include "bench/measure.hpp"
#include "bench/sampler.hpp"
#include "bench/values.hpp"
#include "bench/verify.hpp"
#include "bench/worker_setup.hpp"
#include "bench/workload.hpp"
#include "shm/slot.hpp"

namespace copykv::bench {

/// The moments of a run; the same for all clients.
struct Window {
  uint64_t start_ns;
  uint64_t end_ns;         ///< no operation is meant to start from here on
  uint64_t send_until_ns;  ///< open loop: what was due before and is still unsent is counted then
  uint64_t give_up_ns;     ///< what has not been answered by then is lost
};

template <Backend B, TimeSource T, class S = NoSampler>
class Worker {
 public:
  Worker(B& backend, T& time, const Workload& workload, const WorkerSetup& setup, LiveStats& live,
         const uint32_t& stop, S sampler = {})
      : backend_(backend),
        time_(time),
        workload_(workload),
        setup_(setup),
        live_(live),
        stop_(stop),
        sampler_(std::move(sampler)),
        stream_(workload, setup.seed, setup.client, setup.clients),
        key_text_(workload.key_bytes),
        value_(workload.sizes.bytes_max()) {
    COPYKV_ASSERT(setup.queue_depth >= 1 && setup.queue_depth <= kQueueDepthMax, "queue_depth={}",
                  setup.queue_depth);
    for (uint32_t slot = 0; slot < setup.queue_depth; ++slot) free_[slot] = slot;
    free_count_ = setup.queue_depth;
  }

  /// Puts this client's part of the keys. Ends with the first status that is not ok.
  Status preload() noexcept;

  /// One run. False when the service is gone or operations never came back: no further run then.
  [[nodiscard]] bool run(const Window& window, Measurement& measured) noexcept {
    measured_ = &measured;
    measured.start_ns = last_change_ns_ = window.start_ns;
    last_heard_ns_ = window.start_ns;
    measured.over_time.begin(window.end_ns - window.start_ns);
    level_ = 0;
    sampler_.begin();
    time_.idle_until(window.start_ns, false);
    while (time_.now_ns() < window.start_ns) cpu_pause();
    if (setup_.arrival == Arrival::closed) {
      run_closed(window);
    } else {
      run_open(window);
    }
    measured.end_ns = last_change_ns_;
    measured.interrupted = stopped();
    measured.client_operations = {measured.operations};
    sampler_.end(measured);
    return !broken_ && backend_.in_flight() == 0;
  }

 private:
  static constexpr uint64_t kWaitMs = 10;
  static constexpr uint64_t kSilenceNs = 200 * kNanosPerMilli;
  static constexpr uint64_t kSilentWaitMs = 2;

  void run_closed(const Window& window) noexcept {
    uint64_t now_ns = window.start_ns;
    for (;;) {
      if (now_ns < window.end_ns && !stopped()) {
        submit_round();
      } else if (backend_.in_flight() == 0 || now_ns >= window.give_up_ns) {
        break;
      }
      const size_t answered = backend_.wait(completions_, kWaitMs);
      now_ns = time_.now_ns();
      take(answered, now_ns);
    }
    drop_follow_ups();
    count_lost();
  }

  void run_open(const Window& window) noexcept {
    const double phase = static_cast<double>(setup_.client) / setup_.clients;
    Schedule schedule(setup_.arrival, setup_.interval_ns, phase, window.start_ns,
                      setup_.seed ^ 0x5c4ed01eULL);
    for (;;) {
      const uint64_t now_ns = time_.now_ns();
      const uint64_t end_ns = stopped() || now_ns >= window.send_until_ns ? 0 : window.end_ns;
      submit_due(schedule, now_ns, end_ns);
      const size_t answered = look(now_ns);
      if (answered > 0) {
        take(answered, time_.now_ns());
        continue;
      }
      const bool sent_all =
          (schedule.next_ns() >= end_ns && follow_up_count_ == 0) || now_ns >= window.send_until_ns;
      if ((sent_all && backend_.in_flight() == 0) || now_ns >= window.give_up_ns) break;
      // With every slot taken, only an answer can change anything.
      const uint64_t due_ns = sent_all || free_count_ == 0 ? window.give_up_ns : schedule.next_ns();
      if (due_ns > now_ns) time_.idle_until(due_ns, backend_.in_flight() > 0);
    }
    if (!stopped()) {
      for (; schedule.next_ns() < window.end_ns; schedule.advance()) ++measured_->unsent;
    }
    drop_follow_ups();
    count_lost();
  }

  // Open loop. Only a wait notices that the service is gone, so a long silence is worth a short
  // one.
  [[nodiscard]] size_t look(uint64_t now_ns) noexcept {
    const bool silent = backend_.in_flight() > 0 && now_ns - last_heard_ns_ > kSilenceNs;
    const size_t answered =
        silent ? backend_.wait(completions_, kSilentWaitMs) : backend_.poll(completions_);
    if (silent || answered > 0 || backend_.in_flight() == 0) last_heard_ns_ = now_ns;
    return answered;
  }

  // The put of a read-modify-write that the end of the run cut off was not meant to start any more.
  void drop_follow_ups() noexcept { follow_up_count_ = 0; }

  // An operation that never came back is an error of the service, not of the statistics.
  void count_lost() noexcept {
    const uint64_t lost = backend_.in_flight();
    measured_->errors[static_cast<size_t>(Status::indeterminate)] += lost;
    broken_ = broken_ || lost > 0;
  }

  [[nodiscard]] bool stopped() const noexcept { return broken_ || peek(stop_) != 0; }

  // Operations in flight, integrated up to now.
  void integrate(uint64_t now_ns) noexcept {
    measured_->in_flight_time_ns += level_ * (now_ns - last_change_ns_);
    last_change_ns_ = now_ns;
  }

  void submit_round() noexcept {
    if (free_count_ == 0) return;
    // Making the first operation is the generator's work, not the service's: before the stamp.
    if (follow_up_count_ == 0) prepare(planned());
    const uint64_t now_ns = time_.now_ns();
    bool more = submit_follow_ups(now_ns);
    while (more && free_count_ > 0) {
      more = submit(planned(), now_ns, now_ns);
      if (more) planned_ = nullptr;
    }
    integrate(now_ns);  // up to the stamp, at the level before it
    level_ = backend_.in_flight();
  }

  void submit_due(Schedule& schedule, uint64_t now_ns, uint64_t end_ns) noexcept {
    if (free_count_ == 0) return;
    bool more = (follow_up_count_ > 0 || schedule.next_ns() <= now_ns);
    if (!more) return;
    integrate(now_ns);
    more = submit_follow_ups(now_ns);
    while (more && free_count_ > 0 && schedule.next_ns() <= now_ns && schedule.next_ns() < end_ns) {
      more = submit(planned(), now_ns, schedule.next_ns());
      if (!more) break;
      planned_ = nullptr;
      schedule.advance();
    }
    level_ = backend_.in_flight();
  }

  [[nodiscard]] bool submit_follow_ups(uint64_t now_ns) noexcept {
    while (follow_up_count_ > 0 && free_count_ > 0) {
      const StartedOp& read = follow_ups_[follow_up_count_ - 1];
      const PlannedOp put{read.key_index, read.value_bytes, Kind::put, read.remote};
      if (!submit(put, now_ns, read.meant_ns)) return false;
      --follow_up_count_;
    }
    return true;
  }

  [[nodiscard]] const PlannedOp& planned() noexcept {
    if (planned_ == nullptr) planned_ = &stream_.next();
    return *planned_;
  }

  // False: come back after the next answers (the operation stays the next one).
  [[nodiscard]] bool submit(const PlannedOp& op, uint64_t now_ns, uint64_t meant_ns) noexcept {
    const uint32_t slot = free_[free_count_ - 1];
    const Status status = send(op, slot);
    if (status == Status::ok) [[likely]] {
      --free_count_;
      slots_[slot] = {now_ns, meant_ns, op.key_index, op.value_bytes, op.kind, op.remote};
      return true;
    }
    if (status == Status::would_block) return false;
    ++measured_->errors[static_cast<size_t>(status)];
    broken_ = true;  // refused at once: every further operation would be
    return false;
  }

  // Makes key and value of an operation.
  void prepare(const PlannedOp& op) noexcept {
    prepared_ = &op;
    key_ = key_text_(op.key_index);
    if (op.kind != Kind::put) return;
    fill_value({value_.data(), op.value_bytes}, op.key_index,
               {static_cast<uint16_t>(setup_.client), ++sequence_});
  }

  Status send(const PlannedOp& op, uint64_t tag) noexcept {
    if (prepared_ != &op) prepare(op);
    prepared_ = nullptr;
    sampler_.before(op.remote, key_);
    const Status status = op.kind != Kind::put
                              ? backend_.submit_get(key_, tag)
                              : backend_.submit_put(key_, {value_.data(), op.value_bytes}, tag);
    sampler_.after(status, static_cast<uint32_t>(tag));
    return status;
  }

  void take(size_t answered, uint64_t now_ns) noexcept {
    if (answered == 0) return;
    integrate(now_ns);
    level_ = backend_.in_flight();
    for (size_t i = 0; i < answered; ++i) {
      const Completion& done = completions_[i];
      COPYKV_ASSERT(done.tag < setup_.queue_depth, "tag={}", done.tag);
      const auto slot = static_cast<uint32_t>(done.tag);
      sampler_.seen(slot, slots_[slot].submitted_ns, now_ns);
      finish(slots_[slot], done.result, now_ns);
      free_[free_count_++] = slot;
    }
    count_alike();
    measured_->operations += answered;
    measured_->over_time.count(now_ns - measured_->start_ns, answered);
    ++measured_->rounds;
    live_operations_ += answered;
    const StartedOp& sample = slots_[completions_[0].tag];
    live_.show(live_operations_, live_errors_, now_ns - sample.submitted_ns);
  }

  void finish(const StartedOp& op, const Result& result, uint64_t now_ns) noexcept {
    const Series series = series_of(op.kind == Kind::put, op.remote);
    count(series, now_ns - op.submitted_ns);
    if (setup_.arrival != Arrival::closed) {
      measured_->response.of(series).record(now_ns - op.meant_ns);
    }
    if (result.status != Status::ok) [[unlikely]] {
      ++measured_->errors[static_cast<size_t>(result.status)];
      ++live_errors_;
      broken_ = broken_ || result.status == Status::disconnected;
    } else if (op.kind != Kind::put && setup_.verify) {
      verify_read(*measured_, setup_.client, key_text_, op.key_index, result.value);
    }
    if (op.kind == Kind::modify) {
      follow_ups_[follow_up_count_] = op;
      follow_ups_[follow_up_count_++].meant_ns = now_ns;
    }
  }

  // What went out and came back together has one latency, and is counted together.
  void count(Series series, uint64_t latency_ns) noexcept {
    if (alike_.latency_ns != latency_ns || alike_.series != series) {
      count_alike();
      alike_ = {latency_ns, series, 0};
    }
    ++alike_.times;
  }
  void count_alike() noexcept {
    measured_->service.of(alike_.series).record_n(alike_.latency_ns, alike_.times);
    alike_.times = 0;
  }

  // Constant after construction.
  B& backend_;
  T& time_;
  const Workload workload_;
  const WorkerSetup setup_;
  LiveStats& live_;
  const uint32_t& stop_;

  [[no_unique_address]] S sampler_;
  OpStream stream_;
  KeyText key_text_;
  std::vector<char> value_;
  uint64_t sequence_ = 0;
  uint64_t live_operations_ = 0;
  uint64_t live_errors_ = 0;
  bool broken_ = false;

  // Of the run.
  Measurement* measured_ = nullptr;
  const PlannedOp* planned_ = nullptr;   ///< drawn and not yet started
  const PlannedOp* prepared_ = nullptr;  ///< whose key and value stand in key_ and value_
  std::string_view key_{};
  uint64_t level_ = 0;  ///< operations in flight since last_change_ns_
  uint64_t last_change_ns_ = 0;
  uint64_t last_heard_ns_ = 0;  ///< open loop: last answer, or nothing was in flight
  struct Alike {
    uint64_t latency_ns;
    Series series;
    uint64_t times;
  };
  Alike alike_{};  ///< answers that are not counted yet

  uint32_t free_count_ = 0;
  uint32_t follow_up_count_ = 0;
  std::array<uint32_t, kQueueDepthMax> free_{};
  std::array<StartedOp, kQueueDepthMax> slots_{};
  std::array<StartedOp, kQueueDepthMax> follow_ups_{};
  std::array<Completion, kQueueDepthMax> completions_{};
};

template <Backend B, TimeSource T, class S>
Status Worker<B, T, S>::preload() noexcept {
  Random random(setup_.seed ^ 0x9e1f11edULL);
  Status worst = Status::ok;
  const uint64_t end = std::min(setup_.load_end, workload_.keys());
  uint64_t place = setup_.load_begin;
  while (worst == Status::ok && (place < end || backend_.in_flight() > 0)) {
    while (place < end && free_count_ > 0 && peek(stop_) == 0) {
      const uint32_t slot = free_[free_count_ - 1];
      const PlannedOp op{workload_.number_of(place), workload_.sizes.draw(random), Kind::put};
      const Status status = send(op, slot);
      if (status == Status::would_block) break;
      if (status != Status::ok) return status;
      --free_count_;
      place += setup_.load_step;
    }
    if (peek(stop_) != 0) place = end;
    const size_t answered = backend_.wait(completions_, kWaitMs);
    for (size_t i = 0; i < answered; ++i) {
      if (completions_[i].result.status != Status::ok) worst = completions_[i].result.status;
      free_[free_count_++] = static_cast<uint32_t>(completions_[i].tag);
    }
  }
  return worst;
}

}  // namespace copykv::bench
