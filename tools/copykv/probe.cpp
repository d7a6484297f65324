// SPDX-License-Identifier: Apache-2.0
#include "tools/copykv/probe.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include <copykv/client.hpp>

#include "base/clock.hpp"

namespace copykv::tools {
namespace {

constexpr std::chrono::milliseconds kPeriod{10};
constexpr std::chrono::milliseconds kEndWait{500};

}  // namespace

struct Probe::State {
  std::mutex mutex;
  std::condition_variable changed;
  Histogram round_trip;
  uint64_t sent_ns = 0;  // of the ping without an answer; 0: there is none
  std::string trouble = "attaching";
  bool stopping = false;
  bool stopped = false;
};

Probe::Probe(const Common& common) : state_(std::make_shared<State>()) {
  std::thread([state = state_, common] { run(state, common); }).detach();
}

Probe::~Probe() {
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, kEndWait, [&] { return state_->stopped; });
}

void Probe::run(const std::shared_ptr<State>& state, const Common& common) {
  const SystemClock clock;
  std::unique_lock lock(state->mutex);
  lock.unlock();
  {
    AttachResult attached = Client::attach({.runtime_dir = common.runtime_dir,
                                            .job = common.job,
                                            .rank = common.rank,
                                            .queue_depth = 1});
    lock.lock();
    state->trouble = attached.error;
    const uint32_t daemon_count = attached.client ? attached.client->info().daemon_threads : 1;
    for (uint32_t daemon = 0; attached.client && !state->stopping;
         daemon = (daemon + 1) % daemon_count) {
      const uint64_t sent_ns = clock.now_ns();
      state->sent_ns = sent_ns;
      lock.unlock();
      const Result result = attached.client->ping(daemon);
      const uint64_t took_ns = clock.now_ns() - sent_ns;
      lock.lock();
      state->sent_ns = 0;
      if (!result.ok()) {
        state->trouble = to_string(result.status);
        break;
      }
      state->round_trip.record(took_ns);
      state->changed.wait_for(lock, kPeriod, [&] { return state->stopping; });
    }
    lock.unlock();
  }
  lock.lock();
  state->stopped = true;
  state->changed.notify_all();
}

ProbeReport Probe::take() {
  const std::lock_guard lock(state_->mutex);
  ProbeReport report;
  std::swap(report.round_trip, state_->round_trip);
  const uint64_t now_ns = SystemClock().now_ns();
  if (state_->sent_ns != 0 && now_ns > state_->sent_ns) {
    report.waiting_ns = now_ns - state_->sent_ns;
  }
  report.trouble = state_->trouble;
  return report;
}

}  // namespace copykv::tools
