// SPDX-License-Identifier: Apache-2.0
// A daemon that serves from a thread of its own, and clients of it in the test's thread.
#pragma once

#include <sched.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/impl.hpp"
#include "sim/in_process.hpp"

namespace copykv::test {

inline constexpr uint32_t kValueBytesMax = 3U << 20;

class Served {
 public:
  explicit Served(uint64_t memory_bytes = 64U << 20, Clock* clock = nullptr)
      : daemon_({.memory_bytes = memory_bytes, .value_bytes_max = kValueBytesMax, .clock = clock}) {
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;
  ~Served() {
    if (!thread_.joinable()) return;
    stop_ = true;
    thread_.join();
  }

  /// Attach before serving.
  sim::Seat& attach(uint32_t depth, uint64_t bulk_bytes = 8U << 20, uint32_t payload_bytes = 4096) {
    const auto number = static_cast<uint32_t>(seats_.size());
    seats_.push_back(daemon_.attach({number, 1, depth, payload_bytes, bulk_bytes}));
    return *seats_.back();
  }
  /// The library's inside is kept in view: tests look at bulk rooms and lane ends.
  Client client(const sim::Seat& seat, ClientImpl** inside = nullptr, Wait wait = Wait::adaptive) {
    copykv::Options options;
    options.queue_depth = seat.geometry().queue_depth;
    options.slot_payload_bytes = seat.geometry().slot_payload_bytes;
    options.bulk_bytes_max = seat.geometry().bulk_bytes_max;
    options.wait = wait;
    const int wake_fds[] = {daemon_.wake_fd()};
    auto made = std::make_unique<ClientImpl>(
        options,
        Connection::in_process(seat.base(), seat.geometry(), daemon_.rank(), wake_fds, false));
    if (inside != nullptr) *inside = made.get();
    return ClientImpl::wrap(std::move(made));
  }
  /// From here on the daemon is the thread's.
  void serve() {
    daemon_.settle();
    thread_ = std::thread([this] {
      while (!stop_) {
        if (daemon_.turn() == 0) sched_yield();
      }
    });
  }
  [[nodiscard]] sim::InProcessDaemon& daemon() { return daemon_; }

 private:
  sim::InProcessDaemon daemon_;
  std::vector<std::unique_ptr<sim::Seat>> seats_;  ///< unmapped after the thread has ended
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

/// Every byte of the bulk area is free again.
inline bool all_rooms_free(const ClientImpl& inside) {
  const auto& runs = inside.bulk_.free_runs();
  return runs.size() == 1 && runs[0].offset == 0 && runs[0].bytes == inside.bulk_.end();
}

inline std::string value_of_bytes(size_t bytes, uint32_t seed = 1) {
  std::string value(bytes, '\0');
  for (size_t index = 0; index < bytes; ++index) {
    value[index] = static_cast<char>((index * 131 + index / 251 + seed * 17) & 0xff);
  }
  return value;
}

}  // namespace copykv::test
