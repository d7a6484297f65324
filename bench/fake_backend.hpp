// SPDX-License-Identifier: Apache-2.0
// A service whose service times are known, under time that moves only when the loop waits: what a
// Worker reports about it can be compared with what is true. Backend and TimeSource at once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <copykv/client.hpp>

#include "base/random.hpp"

namespace copykv::bench {

class FakeBackend {
 public:
  /// The service time of an operation that starts at `start_ns`.
  using ServiceTime = std::function<uint64_t(Random&, uint64_t start_ns)>;

  /// `servers` operations are served at a time, in order of arrival; the others wait.
  FakeBackend(ServiceTime service_time, uint32_t servers, uint64_t seed = 1)
      : service_time_(std::move(service_time)), random_(seed), server_free_ns_(servers, 0) {}

  // ---- known service times
  static ServiceTime constant(uint64_t ns) {
    return [ns](Random&, uint64_t) { return ns; };
  }
  static ServiceTime exponential(double mean_ns) {
    return [mean_ns](Random& random, uint64_t) {
      return static_cast<uint64_t>(-std::log(1.0 - random.unit()) * mean_ns);
    };
  }
  static ServiceTime two_peaks(uint64_t fast_ns, uint64_t slow_ns, double slow_fraction) {
    return
        [=](Random& random, uint64_t) { return random.chance(slow_fraction) ? slow_ns : fast_ns; };
  }
  /// Nothing is served between `from_ns` and `to_ns`.
  static ServiceTime stall(uint64_t ns, uint64_t from_ns, uint64_t to_ns) {
    return [=](Random&, uint64_t start_ns) {
      return start_ns + ns > from_ns && start_ns < to_ns ? to_ns - start_ns + ns : ns;
    };
  }

  // ---- faults
  /// Each read's value passes through here on its way out.
  std::function<void(std::string& value)> spoil{};
  /// At most this many are taken before submit says would_block.
  size_t room = 64;

  // ---- Backend
  Status submit_get(std::string_view key, uint64_t tag) noexcept {
    return start({.tag = tag, .key = std::string(key), .is_get = true});
  }
  Status submit_put(std::string_view key, std::string_view value, uint64_t tag) noexcept {
    const Status status = start({.tag = tag, .key = std::string(key)});
    if (status == Status::ok) stored_[std::string(key)] = value;
    return status;
  }
  size_t poll(std::span<Completion> completions) noexcept {
    size_t taken = 0;
    while (taken < completions.size() && !pending_.empty() && pending_.front().done_ns <= now_ns_) {
      finish(pending_.front(), completions[taken++]);
      std::pop_heap(pending_.begin(), pending_.end(), later);
      pending_.pop_back();
    }
    return taken;
  }
  size_t wait(std::span<Completion> completions, uint64_t /*timeout_ms*/) noexcept {
    if (pending_.empty()) return 0;
    now_ns_ = std::max(now_ns_, pending_.front().done_ns);
    return poll(completions);
  }
  [[nodiscard]] size_t in_flight() const noexcept { return pending_.size(); }

  // ---- TimeSource
  [[nodiscard]] uint64_t now_ns() const noexcept { return now_ns_; }
  void idle_until(uint64_t until_ns, bool /*in_flight*/) noexcept {
    const uint64_t next_ns = pending_.empty() ? until_ns : pending_.front().done_ns;
    now_ns_ = std::max(now_ns_, std::min(until_ns, next_ns));
  }

 private:
  struct Pending {
    uint64_t tag = 0;
    std::string key{};
    bool is_get = false;
    uint64_t done_ns = 0;
  };
  static bool later(const Pending& a, const Pending& b) noexcept { return a.done_ns > b.done_ns; }

  Status start(Pending operation) {
    if (pending_.size() >= room) return Status::would_block;
    const auto server = std::min_element(server_free_ns_.begin(), server_free_ns_.end());
    const uint64_t start_ns = std::max(now_ns_, *server);
    *server = operation.done_ns = start_ns + service_time_(random_, start_ns);
    pending_.push_back(std::move(operation));
    std::push_heap(pending_.begin(), pending_.end(), later);
    return Status::ok;
  }

  void finish(const Pending& done, Completion& completion) {
    completion.tag = done.tag;
    completion.result = {.status = Status::ok};
    if (!done.is_get) return;
    const auto found = stored_.find(done.key);
    if (found == stored_.end()) {
      completion.result.status = Status::not_found;
      return;
    }
    std::string& value = answers_[done.tag];
    value = found->second;
    if (spoil) spoil(value);
    completion.result.value = value;
  }

  ServiceTime service_time_;
  Random random_;
  std::vector<uint64_t> server_free_ns_;
  uint64_t now_ns_ = 0;
  std::vector<Pending> pending_{};  ///< a heap: the next to finish first
  std::map<std::string, std::string> stored_{};
  std::map<uint64_t, std::string> answers_{};  ///< by tag: what Completion::result.value points at
};

}  // namespace copykv::bench
