// SPDX-License-Identifier: Apache-2.0
// The clients' side of the crew.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "bench/crew.hpp"
#include "bench/null_backend.hpp"
#include "bench/real_time.hpp"
#include "shm/wake.hpp"

namespace copykv::bench {
namespace {

void set_error(CrewCell& cell, std::string_view line) noexcept {
  const size_t bytes = std::min(line.size(), sizeof(cell.error) - 1);
  std::copy_n(line.data(), bytes, cell.error);
  cell.error[bytes] = '\0';
}

Command await_command(const CrewControl& control, uint32_t number) noexcept {
  while (observe(control.sequence) < number) {
    wait_futex(control.sequence, number - 1, kNanosPerSecond);
  }
  return control.command;
}

// A length and the bytes. The director reads all of it, so a full pipe only delays.
void deliver(int fd, const Measurement& measured) {
  const std::string body = encode(measured);
  const uint64_t bytes = body.size();
  std::string frame(reinterpret_cast<const char*>(&bytes), sizeof(bytes));
  frame += body;
  for (size_t sent = 0; sent < frame.size();) {
    const ssize_t wrote = ::write(fd, frame.data() + sent, frame.size() - sent);
    if (wrote < 0 && errno != EINTR) return;  // the director sees the short frame
    if (wrote > 0) sent += static_cast<size_t>(wrote);
  }
}

template <Backend B, class S = NoSampler>
void serve(B& backend, const CrewPlan& plan, uint32_t client, CrewControl& control, CrewCell& cell,
           int result_fd, S sampler = {}) {
  RealTime time(plan.clock, plan.options.wait);
  Worker<B, RealTime, S> worker(backend, time, plan.options.workload,
                                setup_of(plan.options, plan.options.rank, client), cell.live,
                                control.stop, std::move(sampler));
  publish(cell.done, uint32_t{1});
  for (uint32_t number = 2;; ++number) {
    switch (await_command(control, number)) {
      case Command::preload: {
        const Status status = worker.preload();
        if (status != Status::ok) set_error(cell, to_string(status));
        publish(cell.done, number);
        break;
      }
      case Command::run: {
        Measurement measured;
        if (!worker.run(control.window, measured)) {
          set_error(cell, "lost the daemon, or operations never came back");
        }
        publish(cell.done, number);
        deliver(result_fd, measured);
        break;
      }
      case Command::attach:
      case Command::quit:
        publish(cell.done, number);
        return;
    }
  }
}

}  // namespace

void client_main(const CrewPlan& plan, uint32_t client, CrewControl& control, CrewCell& cell,
                 int result_fd) noexcept {
  if (await_command(control, 1) == Command::quit) return;
  if (plan.options.backend == "null") {
    NullBackend backend(plan.options.workload);
    return serve(backend, plan, client, control, cell, result_fd);
  }
  AttachResult attached = Client::attach(plan.attach);
  if (!attached.client) {
    set_error(cell, attached.error);
    publish(cell.done, uint32_t{1});
    return;
  }
  if (plan.options.stations > 0) {
    Sampler sampler(*attached.client, plan.options.stations);
    return serve(*attached.client, plan, client, control, cell, result_fd, std::move(sampler));
  }
  serve(*attached.client, plan, client, control, cell, result_fd);
}

}  // namespace copykv::bench
